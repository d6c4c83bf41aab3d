"""All drawing functions, one a figure; `DRAW` has them by the name of their figure. `make figures` draws from it."""

from allatt.figures import DRAW  # noqa: F401
from allatt.figures.plots_heads import (  # noqa: F401
    kept_heads_by_layer,
    kept_heads_of_seeds,
    survivors,
)
from allatt.figures.plots_method import (  # noqa: F401
    closing_gates,
    forces_on_a_gate,
    gentle_start,
    hard_concrete,
    one_head,
    output_scaling,
    parts_of_a_body,
    remaining_cost,
    tokens_a_word,
    where_heads_look,
    window,
    zipf,
)
from allatt.figures.plots_results import (  # noqa: F401
    gains_at_equal_parameters,
    gates_over_steps,
    kept_heads,
    learning_curves,
    loss_above_control,
    perplexity_against_size,
)
from allatt.figures.plots_seeds import (  # noqa: F401
    rivals,
    stability,
    three_methods,
)
from allatt.figures.plots_speed import (  # noqa: F401
    figure_1_measured,
    memory_left,
    time_left,
    ways_to_compute,
)
from allatt.figures.plots_texts import (  # noqa: F401
    bits_against_size,
    words_against_size,
)
