"""Training code: recipes and the scripts that run them; imports geodamage, never the other way."""
