"""The untrained control: the initialisation that all arms start from."""

from stages.objectives.contract import Objective

OBJECTIVE = Objective()
