"""The report of a diagnosis: causes, rows, table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# For every cause: why it breaks the symmetry, and the remedy.
_CAUSES = {
    "train mode": (
        "in train mode the output of one sample depends on the rest of the batch or on chance",
        "call model.eval() before the test"),
    "randomness": (
        "two calls on the same input differ",
        "remove the noise, or pass training=self.training to functional dropout"),
    "precision": (
        "the error disappears in float64, so it is rounding",
        "test in float64, or choose a tolerance that fits the precision"),
    "interpolating action": (
        "g followed by its inverse does not bring the features back, so the action interpolates "
        "or crops (or inverse= is not the inverse)",
        "test with elements that map the grid onto itself"),
    "resampled grid": (
        "the output lives on a grid of another size, where a shift by g is a shift by g scaled; "
        "with that action the layer passes",
        "let the action scale g with the size of the map, or pass layer_actions"),
    "interpolation": (
        "the layer computes values between grid points, by a rule that does not move with g",
        "use nearest-neighbour upsampling by a whole factor, or expect an approximate symmetry"),
    "pooling": (
        "g does not map the pooling windows onto each other; with stride one it does",
        "use shifts by multiples of the stride, sizes with (n + 2p - K) mod s = 0 for rotations, "
        "or pool densely and blur before subsampling"),
    "stride": (
        "g does not map the sampled points onto each other; with stride one it does",
        "use shifts by multiples of the stride, sizes with (n + 2p - K) mod s = 0 for rotations"),
    "zero padding": (
        "the zeros around the border do not move with g; a periodic border does",
        "use padding_mode='circular', or compare the interior only"),
    "border": (
        "the border does not move with g; a periodic border does",
        "use padding_mode='circular', or compare the interior only"),
    "bias": (
        "it adds a constant that g does not leave fixed; without the constant it passes",
        "allow a bias on the invariant components only"),
    "wrong direction": (
        "it passes when g acts through its inverse, so it transforms the wrong way round",
        "replace g by its inverse where the layer moves its kernel or its fibre"),
    "nonlinearity": (
        "a pointwise nonlinearity commutes with permutations of the entries, and g mixes entries",
        "use norm or gated nonlinearities, or a permutation (regular) representation"),
    "flattening": (
        "positions become features, and g moves features that count as invariant",
        "pool over all positions first, or say in layer_actions how the vector transforms"),
    "constraint": (
        "the layer is affine and its weights do not satisfy rho_out(g) W = W rho_in(g)",
        "project the weights onto the equivariant basis, or share them along orbits"),
    "actions disagree": (
        "the layer passes alone, but its input does not transform by its declared input action",
        "make the output action of the layer before equal to the input action of this one"),
    "untested step": (
        "the error appears here, in a step that cannot be tested alone",
        "say in layer_actions how its input and its output transform"),
    "unexplained": (
        "the layer does not commute with g, and no single change removes the error",
        "look into the layer, or say in layer_actions how its features transform"),
}

@dataclass(frozen=True)
class StepReport:
    """One step of the walk, in call order.

    Attributes:
        layer: module name; a functional step is written ``name()``, a second call ``name#2``.
        kind: class of the module, or ``"function"``.
        status: ``"ok"``, ``"FAILS"``, ``"untested"`` (no action is known for its input or output),
            or ``"healed"`` (it fails alone, but what follows undoes it on every path, as a valid
            convolution does after circular padding).
        own_error: relative error alone, worst element; None when untested.
        accumulated_error: relative error since the input; None when it cannot be measured.
        worst_element: the first element with the largest error, for a step that fails because of g.
        cause: why it fails, a key of the table in this module; empty unless the status is FAILS.

    Tested: on planted faults, layer, status, cause and element are those that were planted.
    Used in the chapter "one_equation".

    Chapter: ``one_equation``.

    >>> StepReport("conv", "Conv2d", "FAILS", 0.5, 0.5, (0, 1), "zero padding").remedy
    "use padding_mode='circular', or compare the interior only"
    """

    layer: str
    kind: str
    status: str
    own_error: float | None
    accumulated_error: float | None
    worst_element: Any = None
    cause: str = ""

    @property
    def why(self) -> str:
        """The cause in a clause."""
        return _CAUSES[self.cause][0] if self.cause else ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _CAUSES[self.cause][1] if self.cause else ""


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found; ``str()`` gives a table and a closing sentence.

    Attributes:
        rows: one :class:`StepReport` for each step.
        output_error: relative error of the whole model, worst element (infinite when the action
            does not apply to the output).
        tolerance: the bound between passing and failing.
        notes: checks that could not be made, one sentence each.

    Tested: an equivariant model has no failure, a faulty one has the planted layer as culprit.
    Used in the chapter "one_equation".

    Chapter: ``one_equation``.

    >>> conv = StepReport("conv", "Conv2d", "FAILS", 0.5, 0.5, (0, 1), "zero padding")
    >>> relu = StepReport("relu", "ReLU", "ok", 0.0, 0.5)
    >>> report = Diagnosis((conv, relu), output_error=0.5, tolerance=1e-6)
    >>> report.ok, report.culprit.layer
    (False, 'conv')
    >>> print(report.to_text(digits=False).splitlines()[1])
    conv   Conv2d  FAILS   (0, 1)   zero padding
    """

    rows: tuple[StepReport, ...]
    output_error: float
    tolerance: float
    notes: tuple[str, ...] = ()

    @property
    def first_failure(self) -> StepReport | None:
        """The first step that fails, whether the model or the test is at fault."""
        return next((row for row in self.rows if row.status == "FAILS"), None)

    @property
    def test_at_fault(self) -> bool:
        """True when the first failure comes from the action and not from the model."""
        return self.first_failure is not None and self.first_failure.cause == "interpolating action"

    @property
    def culprit(self) -> StepReport | None:
        """The first layer of the model that breaks the symmetry, or None."""
        return None if self.test_at_fault else self.first_failure

    @property
    def ok(self) -> bool:
        """True when no step fails and the output commutes with every element."""
        return self.first_failure is None and self.output_error <= self.tolerance

    def to_text(self, digits: bool = True) -> str:
        """Table and closing sentence; ``digits=False`` leaves out the measured errors."""
        table = [["layer", "kind", "own error", "accumulated", "status", "worst g", "cause"]]
        table += [[row.layer, row.kind, _format(row.own_error), _format(row.accumulated_error),
                   row.status, _show(row.worst_element), row.cause] for row in self.rows]
        if not digits:
            table = [line[:2] + line[4:] for line in table]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        return "\n".join([*lines, *self.notes, self._sentence()])

    def _sentence(self) -> str:
        first = self.first_failure
        if self.ok:
            return "The model commutes with every element tested."
        if first is None:
            return "The output does not commute with g, and no step explains it: see out_action."
        if self.test_at_fault:
            return f"The test, not the model, is at fault: {first.why}; {first.remedy}."
        g = "" if first.worst_element is None else f" for g = {_show(first.worst_element)}"
        return f"{first.layer} fails first{g} ({first.cause}): {first.why}; {first.remedy}."

    def __str__(self) -> str:
        return self.to_text()


def _format(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _show(g: Any) -> str:
    text = "-" if g is None else str(g)
    return text if len(text) <= 24 and "\n" not in text else type(g).__name__
