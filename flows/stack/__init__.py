"""`nestor up`: Prefect's server with its page, MLflow's, workers, and the deployments, on this machine.

plan        what is started: addresses, databases, environment, commands
children    one started program and its log; how all of them are ended
health      whether servers and workers are well
ask         one question over HTTP
allowed     what the workers may run
keeper      a small process that ends the others when `nestor up` is killed
missed      slots of schedules that went by meanwhile
claim       this folder and its ports, for one `nestor up`
run         starts, watches, ends
prefect_command, prefect_worker    Prefect's server and worker, as they are started here
"""

from flows.stack.plan import StackPlan, StackRequest, plan_stack
from flows.stack.run import run_stack

__all__ = ["StackPlan", "StackRequest", "plan_stack", "run_stack"]
