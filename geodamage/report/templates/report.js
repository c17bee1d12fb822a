"use strict";
// The map of a report: BokehJS draws the buildings, the browser the pictures under them.
(async () => {
  Bokeh.logger.set_level("error"); // the console of a reader is for errors
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const find = (id) => document.getElementById(id);
  const frame = find("frame"), root = document.documentElement;
  const [left, bottom, right, top] = facts.bounds;

  // Buildings -------------------------------------------------------------------------------
  const { grade, partial, xs, ys, middles } = facts.buildings;
  const source = new Bokeh.ColumnDataSource({ data: {
    xs, ys, x: middles[0], y: middles[1], grade: grade.map(String),
    dash: partial.map((is) => (is ? "dashed" : "solid")),
  } });
  const mapper = new Bokeh.CategoricalColorMapper({ factors: ["0", "1", "2", "3", "4"], palette: [] });
  const shown = new Bokeh.BooleanFilter({ booleans: grade.map((code) => code > 0) });
  const ungraded = new Bokeh.BooleanFilter({ booleans: grade.map((code) => code === 0) });
  const any = new Bokeh.BooleanFilter({ booleans: grade.map(() => true) });
  const look = (values) => new Bokeh.MultiPolygons({
    xs: { field: "xs" }, ys: { field: "ys" },
    fill_color: { field: "grade", transform: mapper }, line_dash: { field: "dash" }, line_join: "round", ...values,
  });
  const colour = { field: "grade", transform: mapper };
  const glyph = look({ line_color: colour });
  const renderer = new Bokeh.GlyphRenderer({
    data_source: source, view: new Bokeh.CDSView({ filter: shown }), glyph,
    nonselection_glyph: glyph, hover_glyph: null, muted_glyph: null,
    selection_glyph: look({ fill_alpha: 0.15, line_color: "#ff00d4", line_width: 4 }),
  });
  // From afar a building is smaller than a pixel: there it is a dot, a small one where only the
  // worst have dots, for they would hide how many the others are.
  const dot = (values) => new Bokeh.Scatter({
    x: { field: "x" }, y: { field: "y" }, size: facts.complete ? 6 : 3, fill_color: colour,
    line_color: "#222222", line_width: facts.complete ? 0.4 : 0, ...values,
  });
  const dots = new Bokeh.GlyphRenderer({
    data_source: source, view: new Bokeh.CDSView({ filter: any }), glyph: dot({}), nonselection_glyph: dot({}),
    selection_glyph: dot({ size: 10, line_color: "#ff00d4", line_width: 3 }),
    hover_glyph: null, muted_glyph: null, visible: false,
  });
  // A pattern each would be drawn anew for every building: these have one for all.
  const grey = facts.palettes.usual[0];
  const hatched = (values) => new Bokeh.MultiPolygons({
    xs: { field: "xs" }, ys: { field: "ys" }, fill_color: grey, fill_alpha: 0.6, line_color: "#333333", line_width: 0.8,
    hatch_pattern: "right_diagonal_line", hatch_color: "#222222", hatch_scale: 12, hatch_weight: 1, ...values,
  });
  const unseen_glyph = hatched({});
  const unseen = new Bokeh.GlyphRenderer({
    data_source: source, view: new Bokeh.CDSView({ filter: ungraded }), glyph: unseen_glyph,
    nonselection_glyph: unseen_glyph, hover_glyph: null, muted_glyph: null,
    selection_glyph: hatched({ line_color: "#ff00d4", line_width: 4 }),
  });
  // Cells of an event lie under the buildings: the redder the more of them are damaged.
  const cells = facts.cells?.xs.length ? [
    new Bokeh.MultiPolygons({
      xs: { field: "xs" }, ys: { field: "ys" }, fill_color: "#b2182b", fill_alpha: { field: "alpha" },
      line_color: "#444444", line_alpha: 0.6, line_width: 1,
    }),
    new Bokeh.Text({
      x: { field: "x" }, y: { field: "y" }, text: { field: "words" }, text_align: "center", text_baseline: "middle",
      text_font_size: "12px", text_color: "#111111",
      background_fill_color: "#ffffff", background_fill_alpha: 0.75,
    }),
  ].map((own) => new Bokeh.GlyphRenderer({
    data_source: new Bokeh.ColumnDataSource({ data: {
      xs: facts.cells.xs, ys: facts.cells.ys, x: facts.cells.middles[0], y: facts.cells.middles[1],
      alpha: facts.cells.share.map((share) => 0.55 * share), words: facts.cells.words,
    } }),
    glyph: own, nonselection_glyph: own, selection_glyph: own, hover_glyph: null, muted_glyph: null,
  })) : [];
  const x_range = new Bokeh.Range1d({ start: left, end: right });
  const y_range = new Bokeh.Range1d({ start: bottom, end: top });
  const pan = new Bokeh.PanTool(), tap = new Bokeh.TapTool({ renderers: [unseen, renderer, dots] });
  const wheel = new Bokeh.WheelZoomTool({ modifiers: { ctrl: true }, zoom_on_axis: false });
  const plot = new Bokeh.Plot({
    x_range, y_range, renderers: [...cells.slice(0, 1), unseen, renderer, dots, ...cells.slice(1)], sizing_mode: "stretch_both", min_border: 0,
    background_fill_color: null, border_fill_color: null, outline_line_color: null,
    toolbar: new Bokeh.Toolbar({ tools: [pan, tap, wheel], active_drag: pan, active_scroll: wheel, logo: null }),
    toolbar_location: null,
  });

  // What is seen ----------------------------------------------------------------------------
  const pictures = [...document.querySelectorAll(".picture")];
  const scale = find("scale");
  let scaled = 0;
  const sync = () => {
    const width = frame.clientWidth, perUnit = width / (x_range.end - x_range.start);
    for (const picture of pictures) {
      const w = (right - left) * perUnit, h = (top - bottom) * perUnit;
      picture.style.width = `${w}px`;
      picture.style.height = `${h}px`;
      picture.style.transform =
        `translate(${(left - x_range.start) * perUnit}px, ${(y_range.end - top) * perUnit}px)`;
      picture.classList.toggle("near", perUnit * facts.pixel > 3);
    }
    if (perUnit !== scaled) {
      scaled = perUnit;
      restyle();
    }
    const most = 130 / perUnit * facts.metres, power = 10 ** Math.floor(Math.log10(most));
    const metres = [5, 2, 1].map((step) => step * power).find((length) => length <= most);
    scale.querySelector("i").style.width = `${metres / facts.metres * perUnit}px`;
    scale.querySelector("span").textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
  };
  const look_at = (x, y, across) => {
    const height = across * frame.clientHeight / frame.clientWidth;
    x_range.setv({ start: x - across / 2, end: x + across / 2 });
    y_range.setv({ start: y - height / 2, end: y + height / 2 });
    sync();
  };
  const middle = () => [(x_range.start + x_range.end) / 2, (y_range.start + y_range.end) / 2];
  let untouched = null; // where the map begins as long as nobody has moved it
  const whole = () => {
    const ratio = frame.clientWidth / frame.clientHeight;
    look_at((left + right) / 2, (bottom + top) / 2, Math.max(right - left, (top - bottom) * ratio) * 1.01);
    untouched = x_range.start;
  };
  const zoom = (factor) => look_at(...middle(), (x_range.end - x_range.start) * factor);
  x_range.change.connect(sync);
  y_range.change.connect(sync);
  const refit = () => {
    if (x_range.start === untouched) whole();
    else look_at(...middle(), x_range.end - x_range.start);
  };
  new ResizeObserver(refit).observe(frame);
  find("closer").addEventListener("click", () => zoom(1 / 1.6));
  find("farther").addEventListener("click", () => zoom(1.6));
  find("whole").addEventListener("click", whole);

  // Colours ---------------------------------------------------------------------------------
  const paint = () => {
    root.dataset.palette = find("safe").checked ? "safe" : "usual";
    mapper.palette = facts.palettes[root.dataset.palette];
  };
  find("safe").addEventListener("change", paint);
  const restyle = () => {
    const style = find("style").value, side = scaled * facts.size;
    renderer.visible = unseen.visible = style !== "hidden";
    dots.visible = style !== "hidden" && side < 4;
    cells.forEach((own, n) => { // their numbers only where they have room
      own.visible = find("cells").checked && (n === 0 || scaled * facts.cells.side > 34);
    });
    glyph.fill_alpha = { value: style === "outlined" ? 0 : facts.pictures ? 0.4 : 0.9 };
    // On plain ground outlines are dark, where they are not all that is seen of a building.
    glyph.line_color = facts.pictures || side < 9 ? colour : { value: "#333333" };
    glyph.line_width = { value: side < 9 ? 0.8 : facts.pictures ? 2 : 0.8 };
    for (const stencil of document.querySelectorAll(".stencil")) {
      const box = document.querySelector(`.grade[value="${stencil.dataset.grade}"]`);
      stencil.hidden = style === "hidden" || !box.checked;
    }
  };
  find("style").addEventListener("change", restyle);
  if (cells.length) find("cells").addEventListener("change", restyle);
  const boxes = [...document.querySelectorAll("input.grade")];
  const filter = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
    any.booleans = grade.map((code) => chosen.has(code));
    shown.booleans = grade.map((code) => code > 0 && chosen.has(code));
    ungraded.booleans = grade.map((code) => code === 0 && chosen.has(code));
    restyle();
  };
  boxes.forEach((box) => box.addEventListener("change", filter));

  // Swipe -----------------------------------------------------------------------------------
  const slider = find("swipe"), handle = find("handle");
  if (slider) {
    const show = (share) => frame.style.setProperty("--before", `${share}%`);
    slider.addEventListener("input", () => show(slider.value));
    const grip = handle.querySelector("i");
    const move = (event) => {
      const box = frame.getBoundingClientRect();
      slider.value = Math.min(100, Math.max(0, (event.clientX - box.left) / box.width * 100));
      show(slider.value);
    };
    grip.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      grip.setPointerCapture(event.pointerId);
      grip.addEventListener("pointermove", move);
    });
    for (const end of ["pointerup", "pointercancel"])
      grip.addEventListener(end, () => grip.removeEventListener("pointermove", move));
  }

  // One building ----------------------------------------------------------------------------
  const element = (name, content, attributes = {}) => {
    const made = document.createElement(name);
    for (const part of [content].flat()) made.append(part);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`);
  const describe = (row) => {
    const columns = facts.buildings, code = grade[row];
    const swatch = element("i", "", { class: `swatch g${code}`, "aria-hidden": "true" });
    const title = element("p", [swatch, code ? facts.labels[code] : "not assessed"], { class: "grade" });
    const bars = element("tbody", [1, 2, 3, 4].map((g) => {
      const share = columns.probabilities[row][g - 1];
      const bar = element("i", "", { class: `bar g${g}` });
      bar.style.width = `${100 * (share ?? 0)}%`;
      return element("tr", [element("th", facts.labels[g], { scope: "row" }),
        element("td", bar, { class: "share", "aria-hidden": "true" }),
        element("td", percent(share), { class: "n" })]);
    }));
    const list = element("dl", columns.details[row].flatMap(([name, value]) =>
      [element("dt", name), element("dd", value)]));
    const table = code ? [element("p", "Probability of each grade", { class: "hint" }), element("table", bars)] : [];
    find("building-facts").replaceChildren(title, ...table, list);
  };
  const chips = [...document.querySelectorAll(".chip")];
  source.selected.properties.indices.change.connect(() => {
    const row = source.selected.indices[0];
    for (const chip of chips)
      chip.setAttribute("aria-pressed", String(row !== undefined && Number(chip.dataset.building) === row));
    if (row !== undefined) describe(row);
  });
  const go_to = (row) => {
    const flat = (rings) => rings.flat(2), x = flat(xs[row]), y = flat(ys[row]);
    const [x0, x1, y0, y1] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
    const across = Math.max(x1 - x0, y1 - y0, 15 / facts.metres) * 5;
    look_at((x0 + x1) / 2, (y0 + y1) / 2, Math.min(across, (right - left) * 1.01));
    source.selected.indices = [row];
  };
  chips.forEach((chip) => chip.addEventListener("click", () => {
    const row = Number(chip.dataset.building);
    if (row < 0) return;
    go_to(row);
    find("map").scrollIntoView({ block: "start" });
  }));

  paint();
  whole();
  await Bokeh.Plotting.show(plot, find("plot"));
  whole();
  root.dataset.ready = "yes";
})();
