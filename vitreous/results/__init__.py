"""What the verbs answer with: the same values that JSON, the report, the command and (later) the server show.

Scores are fractions in [0, 1], never percentages. Every score carries how many images were seen and expected, and
which ones failed.
"""

from __future__ import annotations

from vitreous.results.check import CheckedImage as CheckedImage
from vitreous.results.check import CheckResult as CheckResult
from vitreous.results.check import Concern as Concern
from vitreous.results.check import ImageGroup as ImageGroup
from vitreous.results.check import OddImage as OddImage
from vitreous.results.check import ShuffleTest as ShuffleTest
from vitreous.results.compare import ClassDifference as ClassDifference
from vitreous.results.compare import Comparison as Comparison
from vitreous.results.compare import Contrast as Contrast
from vitreous.results.compare import Duel as Duel
from vitreous.results.evaluation import NO_CLASS as NO_CLASS
from vitreous.results.evaluation import Baseline as Baseline
from vitreous.results.evaluation import Calibration as Calibration
from vitreous.results.evaluation import ClassMean as ClassMean
from vitreous.results.evaluation import ClassScore as ClassScore
from vitreous.results.evaluation import Evaluation as Evaluation
from vitreous.results.evaluation import Outcome as Outcome
from vitreous.results.images import Failure as Failure
from vitreous.results.images import Prediction as Prediction
from vitreous.results.probe import FinetunePrice as FinetunePrice
from vitreous.results.probe import GridScore as GridScore
from vitreous.results.probe import LayerScore as LayerScore
from vitreous.results.probe import ModelProbe as ModelProbe
from vitreous.results.probe import ProbeDifference as ProbeDifference
from vitreous.results.probe import ProbeResult as ProbeResult
from vitreous.results.probe import ProbeScore as ProbeScore
from vitreous.results.robustness import CleanScore as CleanScore
from vitreous.results.robustness import CorruptionScore as CorruptionScore
from vitreous.results.robustness import PublishedScore as PublishedScore
from vitreous.results.robustness import RobustnessResult as RobustnessResult
from vitreous.results.robustness import SeverityScore as SeverityScore
from vitreous.results.training import DemoResult as DemoResult
from vitreous.results.training import EpochRecord as EpochRecord
from vitreous.results.training import RunResult as RunResult
from vitreous.results.vtab import VtabListed as VtabListed
from vitreous.results.vtab import VtabMissing as VtabMissing
from vitreous.results.vtab import VtabPlan as VtabPlan
from vitreous.results.vtab import VtabPlanned as VtabPlanned
from vitreous.results.vtab import VtabResult as VtabResult
from vitreous.results.vtab import VtabRun as VtabRun
from vitreous.results.vtab import VtabTaskScore as VtabTaskScore
from vitreous.results.vtab import VtabTry as VtabTry
from vitreous.results.weights import Conversion as Conversion
from vitreous.results.weights import Resizing as Resizing
