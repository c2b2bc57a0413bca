"""Products through oneDNN are torch's own, whatever processor asks for them; the layers are as before afterwards."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from evalkit import onednn  # noqa: E402


@pytest.mark.parametrize("vendor", ["AuthenticAMD", "GenuineIntel", ""])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("copy_bytes", [0, 24 * 40 * 4 - 1, 24 * 40 * 4])
def test_the_same_products(vendor, bias, copy_bytes, monkeypatch):
    monkeypatch.setattr(onednn, "_vendor", lambda: vendor)
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 40, bias=bias)
    module, rows = torch.nn.Sequential(layer), torch.randn(1, 7, 24)
    with torch.no_grad():
        truth = module(rows)
        with onednn.through_onednn(module, torch.device("cpu"), copy_bytes=copy_bytes):
            assert ("forward" in vars(layer)) == (vendor == "AuthenticAMD")
            torch.testing.assert_close(module(rows), truth)
        assert "forward" not in vars(layer)
        torch.testing.assert_close(onednn.linear(rows, layer.weight, layer.bias), truth)


def test_the_vendor_is_read_where_the_system_tells_it(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: GenuineIntel\n")
    assert onednn._vendor(tmp_path / "cpuinfo") == "GenuineIntel"
    assert onednn._vendor(tmp_path / "none") == ""
