"""The convolutional residual network: printed sizes, shortcuts, and digits it can learn by heart."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

from anmin.lab.residual_conv import ConvBlock, ResidualConvNet  # noqa: E402


@pytest.mark.parametrize(("n_blocks", "count", "weights"), [(2, 13, 2_729_664), (3, 19, None), (9, 55, 13_567_680)])
def test_convolutions_and_weights_are_as_many_as_printed(n_blocks, count, weights):
    with torch.device("meta"):  # shapes alone
        found = ResidualConvNet(3, 10, n_blocks).convolutions()
    assert len(found) == count
    if weights is not None:
        assert sum(conv.weight.numel() for conv in found) == weights


def test_a_block_of_zeros_hands_on_a_subsampled_input_padded_with_zeros():
    block = ConvBlock(2, 3)
    with torch.no_grad():
        for conv in (block.first, block.second):
            conv.weight.zero_()
        x = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        found = block(x)
    torch.testing.assert_close(found[:, :2], x[:, :, ::2, ::2])
    assert found.shape == (1, 3, 2, 2)
    assert not found[:, 2].any()


@pytest.mark.parametrize("norm", [False, True])
def test_descent_fits_a_few_digits(norm):
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(X[:40].reshape(40, 1, 8, 8) / 16).float(), torch.tensor(labels[:40])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ResidualConvNet(1, 10, 2, (4, 8), norm=norm)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(120):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3


@pytest.mark.parametrize(("settings", "message"), [((1, 10, 0), "at least 1"), ((1, 10, 2, (8, 8)), "rise")])
def test_bad_input_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        ResidualConvNet(*settings)
