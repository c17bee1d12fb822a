"""The table of options: all rows, in the order in which `--help` has them."""

from geodamage.options.exchange import EXCHANGE
from geodamage.options.methods import MODELS, SCENES
from geodamage.options.option import Option
from geodamage.options.products import PRODUCTS, SOURCES
from geodamage.options.reviewing import REVIEWS
from geodamage.options.work import WORDS, WORK

TABLE: tuple[Option, ...] = (
    *SOURCES,
    *MODELS,
    *REVIEWS,
    *EXCHANGE,
    *PRODUCTS,
    *SCENES,
    *WORK,
    *WORDS,
)
