"""From a pre- and a post-disaster GeoTIFF to one polygon per building with its damage grade.

    from geodamage import Scene, find_buildings, load_model, predict, write_buildings

    model = load_model("fast")
    with Scene.open("pre.tif", "post.tif", gsd=model.card.gsd) as scene:
        strips = predict(scene, model)
        buildings = find_buildings(strips, scene.grid, scene.region, model.card)
        write_buildings(buildings, "buildings.geojson", scene.grid.crs)

Importing the package is instant: a name's module is imported when the name is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
