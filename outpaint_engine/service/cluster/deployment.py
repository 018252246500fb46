"""How Ray Serve runs the service: which deployments there are, what each may take, and when there are more of one."""

from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from .api import Api
from .painter import ClusterPainter
from .plan import Plan
from .remote import PAINTER

__all__ = ["application"]

FULL = 0.7
"""Of their places that painters have taken where another is started: the rest of the queue waits in the store."""
MORE_SECONDS, FEWER_SECONDS = 5.0, 300.0
HEAD = "node:__internal_head__"
ENDING_SECONDS = 120.0
"""For the runs of a painter that is no longer needed."""


def application(plan: Plan) -> serve.Application:
    """The service as an application of Ray Serve: one `Api`, on the head, and painters behind it."""
    painter = serve.deployment(
        name=PAINTER,
        ray_actor_options=plan.resources,
        max_ongoing_requests=plan.configuration.workers,
        health_check_period_s=5,
        graceful_shutdown_timeout_s=ENDING_SECONDS,
        max_constructor_retry_count=3,
        **_replicas(plan),
    )(ClusterPainter)
    api = serve.deployment(
        name="Api",
        num_replicas=1,
        # The store may be a file there, and the results a folder.
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
        health_check_period_s=1,
        max_constructor_retry_count=3,
    )(Api)
    return api.bind(plan, painter.bind(plan))


def _replicas(plan: Plan) -> dict[str, Any]:
    least, most = plan.replicas.least, plan.replicas.most
    if least == most:
        return {"num_replicas": most}
    scaling = AutoscalingConfig(
        min_replicas=least,
        max_replicas=most,
        target_ongoing_requests=max(1.0, FULL * plan.configuration.workers) if plan.configuration.workers > 1 else 0.7,
        upscale_delay_s=MORE_SECONDS,
        downscale_delay_s=FEWER_SECONDS,
    )
    return {"autoscaling_config": scaling}
