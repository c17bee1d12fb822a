"""From a pre- and a post-disaster GeoTIFF to one polygon per building with its damage grade.

    import geodamage

    result = geodamage.assess("pre.tif", "post.tif", output="buildings.geojson")
    result.buildings, result.summary, result.warnings, result.facts

Step by step, where strips of probabilities are wanted, too:

    model = geodamage.load_model("fast")
    with geodamage.Scene.open("pre.tif", "post.tif", model=model) as scene:
        strips = geodamage.predict(scene, model)
        found = geodamage.find_buildings(strips, scene.grid, scene.region, model.card)
        geodamage.write_buildings(found, "buildings.geojson", scene.grid.crs)

Importing the package is instant: a name's module is imported when the name is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
