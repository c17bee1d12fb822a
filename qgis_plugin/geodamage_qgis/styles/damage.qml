<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0-Białowieża" styleCategories="Symbology|Labeling|MapTips|Fields|Forms|AttributeTable" labelsEnabled="1">
  <!-- SPDX-License-Identifier: GPL-2.0-or-later; by make_styles.py -->
  <renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="0">
    <rules key="geodamage">
      <rule key="geodamage-0" label="no damage" filter="coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), &quot;damage&quot;) = 'no-damage'" symbol="0" />
      <rule key="geodamage-1" label="minor damage" filter="coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), &quot;damage&quot;) = 'minor-damage'" symbol="1" />
      <rule key="geodamage-2" label="major damage" filter="coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), &quot;damage&quot;) = 'major-damage'" symbol="2" />
      <rule key="geodamage-3" label="destroyed" filter="coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), &quot;damage&quot;) = 'destroyed'" symbol="3" />
      <rule key="geodamage-4" label="not assessed" filter="coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), &quot;damage&quot;) IS NULL" symbol="4" />
      <rule key="geodamage-5" label="seen in part" filter="&quot;status&quot; = 'partial'" symbol="5" />
      <rule key="geodamage-6" label="reviewed" filter="nullif(attribute($currentfeature, 'reviewed_damage'), '') IS NOT NULL" symbol="6" />
    </rules>
    <symbols>
      <symbol type="fill" name="0" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="color" value="44,162,95,191" type="QString" />
            <Option name="outline_style" value="no" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,191" type="QString" />
            <Option name="line_width" value="1.0" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="44,162,95,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="1" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="color" value="255,225,77,191" type="QString" />
            <Option name="outline_style" value="no" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,191" type="QString" />
            <Option name="line_width" value="1.0" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="255,225,77,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="2" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="color" value="255,140,26,191" type="QString" />
            <Option name="outline_style" value="no" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,191" type="QString" />
            <Option name="line_width" value="1.0" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="255,140,26,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="3" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="color" value="215,25,28,191" type="QString" />
            <Option name="outline_style" value="no" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,191" type="QString" />
            <Option name="line_width" value="1.0" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="215,25,28,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="4" alpha="1" clip_to_extent="1">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="color" value="255,255,255,64" type="QString" />
            <Option name="outline_style" value="no" type="QString" />
          </Option>
        </layer>
        <layer class="LinePatternFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="angle" value="45" type="QString" />
            <Option name="distance" value="1.6" type="QString" />
            <Option name="distance_unit" value="MM" type="QString" />
          </Option>
          <symbol type="line" name="@4@1" alpha="1">
            <layer class="SimpleLine" enabled="1" locked="0" pass="0">
              <Option type="Map">
                <Option name="line_color" value="158,158,158,255" type="QString" />
                <Option name="line_width" value="0.5" type="QString" />
                <Option name="line_width_unit" value="MM" type="QString" />
                <Option name="joinstyle" value="miter" type="QString" />
                <Option name="capstyle" value="flat" type="QString" />
                <Option name="use_custom_dash" value="0" type="QString" />
                <Option name="customdash" value="5;2" type="QString" />
                <Option name="customdash_unit" value="MM" type="QString" />
              </Option>
            </layer>
          </symbol>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,191" type="QString" />
            <Option name="line_width" value="1.0" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="158,158,158,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="5" alpha="1" clip_to_extent="1">
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="26,26,26,255" type="QString" />
            <Option name="line_width" value="0.2" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="0" type="QString" />
            <Option name="customdash" value="5;2" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
        <layer class="SimpleLine" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="line_color" value="255,255,255,255" type="QString" />
            <Option name="line_width" value="0.55" type="QString" />
            <Option name="line_width_unit" value="MM" type="QString" />
            <Option name="joinstyle" value="miter" type="QString" />
            <Option name="capstyle" value="flat" type="QString" />
            <Option name="use_custom_dash" value="1" type="QString" />
            <Option name="customdash" value="1.8;1.8" type="QString" />
            <Option name="customdash_unit" value="MM" type="QString" />
          </Option>
        </layer>
      </symbol>
      <symbol type="fill" name="6" alpha="1" clip_to_extent="1">
        <layer class="CentroidFill" enabled="1" locked="0" pass="0">
          <Option type="Map">
            <Option name="point_on_surface" value="1" type="QString" />
            <Option name="point_on_all_parts" value="0" type="QString" />
          </Option>
          <symbol type="marker" name="@6@0" alpha="1">
            <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
              <Option type="Map">
                <Option name="name" value="circle" type="QString" />
                <Option name="color" value="255,255,255,255" type="QString" />
                <Option name="outline_color" value="26,26,26,255" type="QString" />
                <Option name="outline_width" value="0.4" type="QString" />
                <Option name="outline_width_unit" value="MM" type="QString" />
                <Option name="size" value="2.2" type="QString" />
                <Option name="size_unit" value="MM" type="QString" />
              </Option>
            </layer>
          </symbol>
        </layer>
      </symbol>
    </symbols>
  </renderer-v2>
  <labeling type="simple">
    <settings calloutType="simple">
      <text-style fieldName="CASE WHEN nullif(attribute($currentfeature, 'reviewed_damage'), '') IS NOT NULL THEN '' WHEN &quot;confidence&quot; IS NULL THEN '' ELSE 'sure ' || to_string(round(100 * &quot;confidence&quot;)) || ' %' END" isExpression="1" fontSize="8" fontSizeUnit="Point" fontWeight="75" namedStyle="Bold" textColor="26,26,26,255" textOpacity="1" multilineHeight="1">
        <text-buffer bufferDraw="1" bufferColor="255,255,255,255" bufferOpacity="0.9" bufferSize="0.8" bufferSizeUnits="MM" bufferNoFill="0" bufferJoinStyle="128" />
      </text-style>
      <placement placement="8" dist="0.5" distUnits="MM" priority="5" />
      <rendering drawLabels="1" scaleVisibility="1" scaleMin="0" scaleMax="2000" obstacle="1" obstacleFactor="2" obstacleType="1" maxNumLabels="2000" />
    </settings>
  </labeling>
  <fieldConfiguration>
    <field name="building_id">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="damage">
      <editWidget type="ValueMap">
        <config>
          <Option type="Map">
            <Option type="List" name="map">
              <Option type="Map">
                <Option name="no damage" value="no-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="minor damage" value="minor-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="major damage" value="major-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="destroyed" value="destroyed" type="QString" />
              </Option>
            </Option>
          </Option>
        </config>
      </editWidget>
    </field>
    <field name="damage_class">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="p_none">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="p_minor">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="p_major">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="p_destroyed">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="confidence">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="damage_score">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="damaged">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="status">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="status_reason">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="valid_fraction">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="area_m2">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="lon">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="lat">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="source">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="reviewed_damage">
      <editWidget type="ValueMap">
        <config>
          <Option type="Map">
            <Option type="List" name="map">
              <Option type="Map">
                <Option name="no damage" value="no-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="minor damage" value="minor-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="major damage" value="major-damage" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="destroyed" value="destroyed" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="no building" value="no building" type="QString" />
              </Option>
              <Option type="Map">
                <Option name="unclear" value="unclear" type="QString" />
              </Option>
            </Option>
          </Option>
        </config>
      </editWidget>
    </field>
    <field name="reviewer">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
    <field name="reviewed_at">
      <editWidget type="">
        <config />
      </editWidget>
    </field>
  </fieldConfiguration>
  <aliases>
    <alias field="building_id" name="building" />
    <alias field="damage" name="damage" />
    <alias field="damage_class" name="damage class" />
    <alias field="p_none" name="p(no damage)" />
    <alias field="p_minor" name="p(minor damage)" />
    <alias field="p_major" name="p(major damage)" />
    <alias field="p_destroyed" name="p(destroyed)" />
    <alias field="confidence" name="confidence" />
    <alias field="damage_score" name="damage score" />
    <alias field="damaged" name="damaged" />
    <alias field="status" name="status" />
    <alias field="status_reason" name="status reason" />
    <alias field="valid_fraction" name="share seen" />
    <alias field="area_m2" name="area, m²" />
    <alias field="lon" name="lon" />
    <alias field="lat" name="lat" />
    <alias field="source" name="source" />
    <alias field="reviewed_damage" name="reviewed grade" />
    <alias field="reviewer" name="reviewed by" />
    <alias field="reviewed_at" name="reviewed at" />
  </aliases>
  <editable>
    <field name="building_id" editable="0" />
    <field name="damage" editable="0" />
    <field name="damage_class" editable="0" />
    <field name="p_none" editable="0" />
    <field name="p_minor" editable="0" />
    <field name="p_major" editable="0" />
    <field name="p_destroyed" editable="0" />
    <field name="confidence" editable="0" />
    <field name="damage_score" editable="0" />
    <field name="damaged" editable="0" />
    <field name="status" editable="0" />
    <field name="status_reason" editable="0" />
    <field name="valid_fraction" editable="0" />
    <field name="area_m2" editable="0" />
    <field name="lon" editable="0" />
    <field name="lat" editable="0" />
    <field name="source" editable="0" />
    <field name="reviewed_damage" editable="0" />
    <field name="reviewer" editable="0" />
    <field name="reviewed_at" editable="0" />
  </editable>
  <editorlayout>tablayout</editorlayout>
  <attributeEditorForm>
    <attributeEditorContainer name="Grade" groupBox="1" columnCount="1" showLabel="1" visibilityExpressionEnabled="0" visibilityExpression="">
      <attributeEditorField name="damage" index="-1" showLabel="1" />
      <attributeEditorField name="confidence" index="-1" showLabel="1" />
      <attributeEditorField name="damaged" index="-1" showLabel="1" />
      <attributeEditorField name="damage_score" index="-1" showLabel="1" />
      <attributeEditorField name="status" index="-1" showLabel="1" />
      <attributeEditorField name="status_reason" index="-1" showLabel="1" />
    </attributeEditorContainer>
    <attributeEditorContainer name="Probabilities" groupBox="1" columnCount="2" showLabel="1" visibilityExpressionEnabled="0" visibilityExpression="">
      <attributeEditorField name="p_none" index="-1" showLabel="1" />
      <attributeEditorField name="p_minor" index="-1" showLabel="1" />
      <attributeEditorField name="p_major" index="-1" showLabel="1" />
      <attributeEditorField name="p_destroyed" index="-1" showLabel="1" />
    </attributeEditorContainer>
    <attributeEditorContainer name="Review" groupBox="1" columnCount="1" showLabel="1" visibilityExpressionEnabled="0" visibilityExpression="">
      <attributeEditorField name="reviewed_damage" index="-1" showLabel="1" />
      <attributeEditorField name="reviewer" index="-1" showLabel="1" />
      <attributeEditorField name="reviewed_at" index="-1" showLabel="1" />
    </attributeEditorContainer>
    <attributeEditorContainer name="Building" groupBox="1" columnCount="1" showLabel="1" visibilityExpressionEnabled="0" visibilityExpression="">
      <attributeEditorField name="building_id" index="-1" showLabel="1" />
      <attributeEditorField name="area_m2" index="-1" showLabel="1" />
      <attributeEditorField name="valid_fraction" index="-1" showLabel="1" />
      <attributeEditorField name="lon" index="-1" showLabel="1" />
      <attributeEditorField name="lat" index="-1" showLabel="1" />
      <attributeEditorField name="source" index="-1" showLabel="1" />
    </attributeEditorContainer>
  </attributeEditorForm>
  <previewExpression>"building_id"</previewExpression>
  <mapTip>&lt;div style="background:#ffffff; color:#1a1a1a"&gt;&lt;b&gt;[% coalesce(coalesce(map_get(map('no-damage', 'no damage', 'minor-damage', 'minor damage', 'major-damage', 'major damage', 'destroyed', 'destroyed', 'no building', 'no building', 'unclear', 'unclear'), coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), "damage")), coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'), "damage")), 'not assessed') %]&lt;/b&gt;[% CASE WHEN nullif(attribute($currentfeature, 'reviewed_damage'), '') IS NOT NULL THEN ', reviewed by ' || coalesce(attribute($currentfeature, 'reviewer'), '?') || '; the model said ' || coalesce(coalesce(map_get(map('no-damage', 'no damage', 'minor-damage', 'minor damage', 'major-damage', 'major damage', 'destroyed', 'destroyed', 'no building', 'no building', 'unclear', 'unclear'), "damage"), "damage"), 'not assessed') ELSE '' END %]&lt;br&gt;[% CASE WHEN "p_none" IS NULL THEN '' ELSE '&lt;span style="font-size:6px; color:#2ca25f"&gt;' || lpad('', round(12 * "p_none"), '█') || '&lt;/span&gt;&lt;span style="font-size:6px; color:#dddddd"&gt;' || lpad('', 12 - round(12 * "p_none"), '█') || '&lt;/span&gt;&amp;nbsp;' || to_string(round(100 * "p_none")) || '&amp;nbsp;%&amp;nbsp;no&amp;nbsp;damage&lt;br&gt;' END %][% CASE WHEN "p_minor" IS NULL THEN '' ELSE '&lt;span style="font-size:6px; color:#ffe14d"&gt;' || lpad('', round(12 * "p_minor"), '█') || '&lt;/span&gt;&lt;span style="font-size:6px; color:#dddddd"&gt;' || lpad('', 12 - round(12 * "p_minor"), '█') || '&lt;/span&gt;&amp;nbsp;' || to_string(round(100 * "p_minor")) || '&amp;nbsp;%&amp;nbsp;minor&amp;nbsp;damage&lt;br&gt;' END %][% CASE WHEN "p_major" IS NULL THEN '' ELSE '&lt;span style="font-size:6px; color:#ff8c1a"&gt;' || lpad('', round(12 * "p_major"), '█') || '&lt;/span&gt;&lt;span style="font-size:6px; color:#dddddd"&gt;' || lpad('', 12 - round(12 * "p_major"), '█') || '&lt;/span&gt;&amp;nbsp;' || to_string(round(100 * "p_major")) || '&amp;nbsp;%&amp;nbsp;major&amp;nbsp;damage&lt;br&gt;' END %][% CASE WHEN "p_destroyed" IS NULL THEN '' ELSE '&lt;span style="font-size:6px; color:#d7191c"&gt;' || lpad('', round(12 * "p_destroyed"), '█') || '&lt;/span&gt;&lt;span style="font-size:6px; color:#dddddd"&gt;' || lpad('', 12 - round(12 * "p_destroyed"), '█') || '&lt;/span&gt;&amp;nbsp;' || to_string(round(100 * "p_destroyed")) || '&amp;nbsp;%&amp;nbsp;destroyed&lt;br&gt;' END %][% CASE WHEN "status" = 'assessed' THEN '' ELSE coalesce(map_get(map('assessed', 'assessed', 'partial', 'seen in part', 'not_assessed', 'not assessed', 'cut_by_edge_or_nodata', 'cut by the edge or by missing data', 'nodata_pre', 'no data in the image before', 'nodata_post', 'no data in the image after', 'outside_pre', 'outside the image before', 'outside_post', 'outside the image after', 'outside_aoi', 'outside the area', 'obscured_pre', 'hidden in the image before', 'obscured_post', 'hidden in the image after', 'no_geometry', 'no outline', 'too_small', 'too small', 'reviewed_no_building', 'no building, by the review'), "status"), "status") || coalesce(': ' || coalesce(map_get(map('assessed', 'assessed', 'partial', 'seen in part', 'not_assessed', 'not assessed', 'cut_by_edge_or_nodata', 'cut by the edge or by missing data', 'nodata_pre', 'no data in the image before', 'nodata_post', 'no data in the image after', 'outside_pre', 'outside the image before', 'outside_post', 'outside the image after', 'outside_aoi', 'outside the area', 'obscured_pre', 'hidden in the image before', 'obscured_post', 'hidden in the image after', 'no_geometry', 'no outline', 'too_small', 'too small', 'reviewed_no_building', 'no building, by the review'), "status_reason"), "status_reason"), '') || '&lt;br&gt;' END %][% format_number("area_m2", 0) %]&amp;nbsp;m², building&amp;nbsp;[% "building_id" %]&lt;/div&gt;</mapTip>
  <layerGeometryType>2</layerGeometryType>
</qgis>
