"""Networks: torch modules, one file per family; the only part of the package that needs torch."""
