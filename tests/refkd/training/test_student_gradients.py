"""What reaches which part of a student: side branches, trunk, and teachers of either kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from refkd.data.batch import Batch
from refkd.data.dataset import Dataset
from refkd.distill import DistillConfig, ReflectiveLoss, Student, StudentOutput
from refkd.models import VSLNetConfig, build_backbone
from refkd.training.knowledge import CachedTeachers, LiveTeachers, TeacherSource, make_knowledge
from refkd.training.student import StudentTask
from refkd.training.teacher import Teacher


@pytest.fixture(scope="module")
def batch(tiny_dataset: Dataset) -> Batch:
    return tiny_dataset.role("fit").batch([5, 17, 3, 80, 42, 9])


@pytest.fixture(scope="module")
def live(tiny_dataset: Dataset, teachers: dict[str, Teacher]) -> LiveTeachers:
    return LiveTeachers(*(teachers[role].backbone(tiny_dataset) for role in ("id", "ood")))


@pytest.fixture(scope="module")
def cached(
    tiny_dataset: Dataset,
    teachers: dict[str, Teacher],
    tmp_path_factory: pytest.TempPathFactory,
) -> CachedTeachers:
    folder = tmp_path_factory.mktemp("knowledge")
    made = [make_knowledge(teachers[role], tiny_dataset, folder) for role in ("id", "ood")]
    return CachedTeachers(*made)


def gradients(
    dataset: Dataset,
    network: VSLNetConfig,
    batch: Batch,
    source: TeacherSource,
    *,
    epoch: int = 1,
    **distill: Any,
) -> tuple[float, dict[str, Tensor]]:
    """Return loss and gradients of one evaluation-mode pass; the warm-up is one epoch."""
    config = DistillConfig.model_validate({"warmup_epochs": 1, **distill})
    backbone = build_backbone(network, dataset.model_inputs(), seed=2)
    student = Student(backbone, config, seed=2).eval()
    terms = StudentTask(student, config, source).loss(batch, epoch)
    terms.total.backward()
    found = {n: p.grad for n, p in student.named_parameters() if p.grad is not None}
    return terms.total.item(), found


@pytest.mark.parametrize("epoch", [0, 1], ids=["warm-up", "reflective"])
def test_18_cached_and_live_teachers_give_the_same_loss_and_gradient(
    epoch: int,
    tiny_dataset: Dataset,
    network: VSLNetConfig,
    batch: Batch,
    cached: CachedTeachers,
    live: LiveTeachers,
) -> None:
    a, b = (
        gradients(tiny_dataset, network, batch, source, epoch=epoch) for source in (cached, live)
    )
    assert a[0] == pytest.approx(b[0], abs=1e-5)
    assert a[1].keys() == b[1].keys()
    for name, value in a[1].items():
        torch.testing.assert_close(value, b[1][name], atol=1e-4, rtol=1e-4, msg=name)


def test_knowledge_does_not_depend_on_the_order_of_a_batch(
    batch: Batch, cached: CachedTeachers, live: LiveTeachers
) -> None:
    backwards = torch.arange(len(batch)).flip(0)
    for source in (cached, live):
        straight, turned = source(batch).ood, source(batch.select(backwards)).ood
        torch.testing.assert_close(turned.start, straight.start[backwards], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cached(batch).id.end, live(batch).id.end, atol=1e-5, rtol=1e-5)
    assert (cached(batch).id.start - cached(batch).ood.start).abs().max() > 0.1


@pytest.mark.parametrize("epoch", [0, 1], ids=["warm-up", "reflective"])
def test_13_a_branch_without_weight_gets_no_gradient(
    epoch: int, tiny_dataset: Dataset, network: VSLNetConfig, batch: Batch, live: LiveTeachers
) -> None:
    def found(**distill: float) -> dict[str, Tensor]:
        return gradients(tiny_dataset, network, batch, live, epoch=epoch, **distill)[1]

    def largest(values: dict[str, Tensor], part: str) -> float:
        return max(v.abs().max().item() for n, v in values.items() if n.startswith(part))

    none, one, both = (
        found(lambda_id=0.0, lambda_ood=0.0),
        found(lambda_id=0.5, lambda_ood=0.0),
        found(lambda_id=0.5, lambda_ood=0.5),
    )
    assert largest(none, "side_id.") == largest(none, "side_ood.") == 0
    assert largest(one, "side_ood.") == 0
    assert largest(one, "side_id.") > 1e-6
    assert largest(both, "side_ood.") > 1e-6


def test_13_without_weight_the_trunk_is_that_of_a_student_without_branches(
    tiny_dataset: Dataset, network: VSLNetConfig, batch: Batch, live: LiveTeachers
) -> None:
    _, found = gradients(
        tiny_dataset, network, batch, live, epoch=0, lambda_id=0.0, lambda_ood=0.0
    )
    backbone = build_backbone(network, tiny_dataset.model_inputs(), seed=2).eval()
    output = backbone(batch)
    loss = ReflectiveLoss(DistillConfig(warmup_epochs=1))
    spans = StudentOutput(main=output, side_id=output.spans, side_ood=output.spans)
    target = loss.target(spans, batch, live(batch), warm=True)
    (loss._divergence(target, output.spans) + backbone.auxiliary_loss(output, batch)).backward()
    for name, parameter in backbone.named_parameters():
        assert torch.equal(found[f"backbone.{name}"], parameter.grad), name


@pytest.mark.parametrize("detach", [True, False])
def test_13_a_detached_trunk_does_not_depend_on_lambda(
    detach: bool, tiny_dataset: Dataset, network: VSLNetConfig, batch: Batch, live: LiveTeachers
) -> None:
    small, large = (
        gradients(
            tiny_dataset, network, batch, live, lambda_id=x, lambda_ood=x, detach_side=detach
        )[1]
        for x in (0.1, 2.0)
    )
    trunk = [name for name in small if name.startswith("backbone.")]
    assert trunk
    assert all(torch.equal(small[name], large[name]) for name in trunk) == detach
