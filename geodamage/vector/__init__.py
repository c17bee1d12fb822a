"""Vector files of others: opened by an allow-list of formats; nothing is lost without a message.

A file is known by its content before any reader sees it. GeoJSON, CSV and GeoParquet are read
without GDAL; of GDAL's drivers only those named in `formats` see a file, and only its own.
"""
