"""Attention mass."""

import pytest
import torch

from datasetkit.hi_scoring.scores.formulas.mass import attention_mass


def test_masses_of_two_heads() -> None:
    attention = torch.tensor([[0.1, 0.2, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]]).double()
    evidence = torch.tensor([1.0, 0.5, 0.0, 0.0]).double()
    found = attention_mass(attention, evidence, visible_keys=16.0)
    assert found["ram"].tolist() == pytest.approx([0.2, 0.0])
    assert found["image_mass"].tolist() == pytest.approx([0.4, 0.0])
    assert found["ram_relative"].tolist() == pytest.approx([0.5, float("nan")], nan_ok=True)
    assert found["ram_chance"].tolist() == pytest.approx([0.4 * 1.5 / 4, 0.0])
    assert found["ram_relative_chance"].tolist() == pytest.approx([0.375, 0.375])
    assert found["image_mass_chance"].tolist() == pytest.approx([0.25, float("nan")], nan_ok=True)


def test_no_evidence_leaves_only_image_mass() -> None:
    found = attention_mass(torch.full((2, 3), 0.1).double(), torch.zeros(3).double(), visible_keys=6.0)
    for name in ("ram", "ram_relative", "ram_chance", "ram_relative_chance"):
        assert found[name].isnan().all(), name
    assert found["image_mass"].tolist() == pytest.approx([0.3, 0.3])
    assert found["image_mass_chance"].tolist() == [0.5, 0.5]


def test_uniform_attention_has_masses_at_chance() -> None:
    found = attention_mass(torch.full((1, 5), 1 / 20).double(), torch.tensor([1.0, 1, 0, 0, 0]).double(), 20.0)
    for name in ("ram", "ram_relative", "image_mass"):
        assert found[name].item() == pytest.approx(found[f"{name}_chance"].item()), name
