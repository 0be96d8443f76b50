"""The known mistakes of 03.5, who moves in the next step. Ids are permanent: a class's tally is kept by them."""

from ..task import Mistake

PARAMETERS_WITH_GRADIENT = (
    Mistake(
        "grad_not_none",
        "You count parameters whose gradient is 0 everywhere; that there is one, not None, is not enough: ask whether an entry is not 0, "
        "after one backward pass of this loss.",
        ({"keep": "gradient not None"},),
    ),
    Mistake(
        "requires_grad",
        "You ask which parameters *may* get a gradient; asked is which get one that is not 0.",
        ({"keep": "requires_grad"},),
    ),
    Mistake(
        "stale",
        "You count a gradient that was there before: `backward` adds to old gradients, so call `model.zero_grad()` first.",
        ({"fresh": False},),
    ),
    Mistake(
        "positive_only",
        "You find only gradients with a positive entry; a negative one moves a parameter just as well: ask for `!= 0`.",
        ({"keep": "gradient positive"},),
    ),
    Mistake(
        "no_backward",
        "Your gradients are not those of this loss: call `loss.backward()` before you look at them, and `zero_grad` before it, not after.",
        ({"backward": False, "fresh": False},),
    ),
    Mistake(
        "empty_set",
        "Your set is empty: is there a `backward` before you look, no `zero_grad` after it, and do the names really go into the set (`add`)? "
        "They must.",
        ({"backward": False},),
    ),
    Mistake(
        "loss_without_target",
        "You find gradients even where the output *is* the target, and this loss has none there: it is the mean of (model(x) - target)², "
        "with the target in it and squared.",
        ({"loss": "output"},),
    ),
    Mistake(
        "other_loss",
        "Your loss is not the mean of (model(x) - target)²; one of absolute differences, for example, can be balanced where this one is not.",
        ({"loss": "absolute"},),
    ),
    Mistake(
        "value_not_gradient",
        "You look at the parameters' values; asked is about their gradients, `p.grad`.",
        ({"keep": "value not 0"},),
    ),
    Mistake(
        "every_entry",
        "You want *every* entry to be other than 0; one is enough, and a dead ReLU leaves many entries at 0.",
        ({"keep": "every entry not 0"},),
    ),
    Mistake(
        "first_entry",
        "You look at a part of each gradient, such as its first entry; the one that is not 0 may lie elsewhere: `(p.grad != 0).any()` looks "
        "at all of them.",
        ({"keep": "first entry not 0"}, {"keep": "first row not 0"}),
    ),
    Mistake(
        "sum_cancels",
        "You add the entries of a gradient up, and they can cancel: ask whether *any* of them is not 0.",
        ({"keep": "sum not 0"},),
    ),
    Mistake(
        "the_others",
        "You return the parameters whose gradient *is* 0; asked are the ones that will move.",
        ({"keep": "gradient 0"},),
    ),
    Mistake(
        "grad_is_none",
        "A parameter that the loss never meets has `p.grad` None, which has no entries: ask `p.grad is not None` first.",
        ({"none": "raise"},),
    ),
    Mistake(
        "no_any",
        "`p.grad != 0` has an answer for every entry, and `if` wants one: `(p.grad != 0).any()` makes one of them.",
        ({"keep": "ambiguous"},),
    ),
    Mistake(
        "other_names",
        "You return names of another kind; give them whole, layer and parameter, as `model.named_parameters()` does: `out.weight`.",
        ({"give": "modules"},),
    ),
    Mistake(
        "parameters",
        "You return tensors, alone or beside their names; return the names only, the strings of `model.named_parameters()`.",
        ({"give": "parameters"},),
    ),
    Mistake("number", "You return how many there are; return the set of their names.", ({"give": "number"},)),
)
