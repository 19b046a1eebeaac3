"""The control: the initialisation that all arms start from, not trained at all."""

from stages.objectives.contract import Objective

OBJECTIVE = Objective()
