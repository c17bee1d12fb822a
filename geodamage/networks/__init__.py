"""Networks: torch modules, one file per family; the only part of the package that needs torch."""

from geodamage.networks.checkpoints import load_checkpoint, save_checkpoint
from geodamage.networks.registry import NetworkFacts, create_network, list_networks

__all__ = ["NetworkFacts", "create_network", "list_networks", "load_checkpoint", "save_checkpoint"]
