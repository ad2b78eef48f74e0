"""PyTorch: the same numbers both ways, and the same file there and back."""

import copy
import pickle

import numpy as np
import pytest

import tinynn as tnn

torch = pytest.importorskip("torch")
nn = torch.nn
torch.set_num_threads(1)

from .drawn import drawn_model, file_of  # noqa: E402

to_torch, from_torch = tnn.formats.to_torch, tnn.formats.from_torch


def theirs(module, x):
    """What a module makes of series (batch, length, channels), as tinynn would lay it out."""
    with torch.no_grad():
        y = module(torch.tensor(np.swapaxes(x, 1, -1) if x.ndim == 3 else x)).numpy()
    return np.swapaxes(y, 1, 2) if y.ndim == 3 else y


def assert_equal_outputs(model, module, series):
    for x in series:
        wanted = tnn.predict(model, x)
        y = theirs(module, x)
        assert y.dtype == wanted.dtype
        assert y.shape == wanted.shape
        scale = max(1, np.abs(wanted).max())
        np.testing.assert_allclose(y / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("seed", range(300))
def test_drawn_models_give_the_same_numbers_and_come_back(seed):
    model, series = drawn_model(seed)
    state = torch.get_rng_state()
    module = to_torch(model)
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training
    if not any(isinstance(part, nn.Linear | nn.Flatten) for part in module.modules()):
        series = series + [series[0][:1]]
    takes_series = any(p.takes_series or type(p) is tnn.Flatten for p in model._layers())
    given = series if takes_series else [x.mean(axis=1) for x in series]
    assert_equal_outputs(model, module, given)
    assert file_of(from_torch(module)) == file_of(model)
    again = copy.deepcopy(module)
    for part in again.modules():
        vars(part).pop("tinynn", None)
    try:
        back = from_torch(again)
    except ValueError:
        return
    assert_equal_outputs(back, module, given)


def filled(module, seed=0):
    """A module whose running statistics and scales are no longer the first ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict(keep_vars=True).items():
            if value.is_floating_point() and "num_batches" not in name:
                value.copy_(
                    torch.rand(value.shape, generator=generator) - 0.3 * ("var" not in name)
                )
    return module.eval()


NATIVE = {  # models as people write them, with the length that they take
    "detector": (
        lambda: (
            [nn.Conv1d(2, 4, 9, padding="same"), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5)]
            + [nn.Conv1d(4, 1, 1), nn.Sigmoid()]
        ),
        30,
    ),
    "classifier": (
        lambda: (
            [nn.Conv1d(2, 6, 5, stride=2), nn.ELU(), nn.MaxPool1d(2), nn.Flatten()]
            + [nn.Dropout(), nn.Linear(6 * 6, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3)]
            + [nn.Softmax(dim=1)]
        ),
        29,
    ),
    "pooled": (
        lambda: (
            [nn.Conv1d(2, 3, 3, groups=1), nn.SiLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()]
            + [nn.LayerNorm(3), nn.Linear(3, 2), nn.LogSoftmax(dim=-1)]
        ),
        11,
    ),
    "largest": (lambda: [nn.AdaptiveMaxPool1d(1), nn.Identity(), nn.Flatten(), nn.Linear(2, 1)], 9),
    "decoder": (
        lambda: (
            [nn.ConvTranspose1d(2, 4, 4, stride=2, padding=1), nn.GELU()]
            + [nn.ConvTranspose1d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=2)]
            + [
                nn.ConvTranspose1d(4, 2, 2, stride=3),
                nn.ConvTranspose1d(2, 2, 2, 3, output_padding=2),
            ]
        ),
        8,
    ),
    "paddings": (
        lambda: (
            [
                nn.ReflectionPad1d((3, 1)),
                nn.Conv1d(2, 2, 3, padding="valid"),
                nn.ZeroPad1d(2),
                nn.Softplus(),
            ]
            + [nn.CircularPad1d(1), nn.Conv1d(2, 2, 2, bias=False), nn.ConstantPad1d((0, 3), 0.0)]
            + [nn.ReplicationPad1d((0, 2)), nn.Conv1d(2, 3, 3, dilation=2, stride=2)]
            + [nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular", groups=3)]
        ),
        10,
    ),
    "u-net": (
        lambda: (
            [nn.AvgPool1d(2), nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU())]
            + [nn.Upsample(scale_factor=2), nn.MaxPool1d(3, 1, 1)]
            + [nn.AvgPool1d(5, 1, 2, count_include_pad=False), nn.Softmax(dim=1)]
        ),
        12,
    ),
    "features": (lambda: [nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)], None),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NATIVE)
def test_models_of_pytorch_give_the_same_numbers(name, dtype):
    make, length = NATIVE[name]
    module = filled(nn.Sequential(*make())).to(dtype)
    x = np.random.default_rng(0).normal(size=(3, length, 2) if length else (3, 2))
    x = x.astype(str(dtype)[6:])
    model = from_torch(module)
    assert not model.training
    assert_equal_outputs(model, module, [x])
    if name not in ("classifier", "paddings"):  # there are rows in another order, and one padding
        again = to_torch(model)
        places = {"decoder": 5, "largest": 3}  # where one module became two, or none
        kept = [key for key in module.state_dict() if "num_batches" not in key]
        kept = [key for key in kept if int(key[0]) < places.get(name, 9)]
        for key in kept:
            assert torch.equal(again.state_dict()[key], module.state_dict()[key]), key
    assert_equal_outputs(model, to_torch(model), [x])


REFUSED = {
    "LSTM": (nn.LSTM(2, 3), "an? LSTM: tinynn has no such layer"),
    "Conv2d": (nn.Conv2d(1, 1, 3), "tinynn has no such layer"),
    "ReLU6": (nn.ReLU6(), "tinynn has no such layer"),
    "Dropout1d": (nn.Dropout1d(0.1), "tinynn has no such layer"),
    "slope": (nn.LeakyReLU(), r"tinynn has no negative_slope=0\.01, only 0\.2"),
    "tanh": (nn.GELU("tanh"), "tinynn has no approximate='tanh', only 'none'"),
    "alpha": (nn.ELU(2.0), r"tinynn has no alpha=2\.0"),
    "beta": (nn.Softplus(2.0), r"tinynn has no beta=2\.0"),
    "steps": (nn.Softmax(dim=2), "tinynn has no dim=2 but channels"),
    "no dim": (nn.Softmax(), "tinynn has no dim=None"),
    "affine": (nn.BatchNorm1d(2, affine=False), "tinynn has no affine=False"),
    "untracked": (nn.BatchNorm1d(2, track_running_stats=False), "no track_running_stats=False"),
    "cumulative": (nn.BatchNorm1d(2, momentum=None), "tinynn has no momentum=None"),
    "ceil": (nn.MaxPool1d(2, ceil_mode=True), "tinynn has no ceil_mode=True"),
    "dilated": (nn.MaxPool1d(2, dilation=2), "tinynn has no dilation=2"),
    "padded": (nn.MaxPool1d(3, padding=1), "tinynn has no padding=1"),
    "counted": (nn.AvgPool1d(3, 1, 1), "tinynn has no count_include_pad=True"),
    "linear": (nn.Linear(9, 2), r"what is \(batch, channels, length\) here"),
    "norm": (nn.LayerNorm(9), r"what is \(batch, channels, length\) here"),
    "flat": (nn.Flatten(0), "tinynn has no start_dim=0"),
    "unknown": (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), "how many channels .* not known"),
    "open": (nn.Sequential(nn.Conv1d(1, 1, 3), nn.Flatten()), "a Flatten or padding has nothing"),
    "reflect": (nn.ReflectionPad1d(2), "a Flatten or padding has nothing behind it"),
    "no conv": (nn.Sequential(nn.ReflectionPad1d(2), nn.ReLU()), "reflect padding is not followed"),
    "twice": (
        nn.Sequential(nn.ReflectionPad1d(2), nn.Conv1d(1, 1, 3, padding=1)),
        r"tinynn has no padding=\(1,\), only \(0,\)",
    ),
    "constant": (nn.ConstantPad1d(1, 2.0), "tinynn has no such padding"),
    "crop": (nn.ZeroPad1d((-1, 0)), "tinynn has no such padding"),
    "one step": (nn.AdaptiveAvgPool1d(1), "it keeps one step"),
    "two steps": (nn.AdaptiveAvgPool1d(2), "tinynn has no output_size=2"),
    "size": (nn.Upsample(9), "a whole number of times"),
    "half": (nn.Upsample(scale_factor=1.5), "a whole number of times"),
    "smooth": (nn.Upsample(scale_factor=2, mode="linear"), "a whole number of times"),
    "bfloat16": (nn.Conv1d(1, 1, 3, dtype=torch.bfloat16), "tinynn has no dtype bfloat16"),
    "all": (nn.Dropout(1.0), "Dropout: rate must be a finite number at least 0 and below 1"),
    "sure": (nn.BatchNorm1d(2, eps=0.0), "BatchNorm: epsilon must be a finite number above 0"),
    "between": (
        nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.BatchNorm1d(14), nn.Linear(14, 1)),
        "it stands between a Flatten and its Linear",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_tinynn_has_not_is_refused_by_path(name):
    module, fault = REFUSED[name]
    whole = nn.Sequential(nn.ZeroPad1d(1), nn.Sequential(module))
    with pytest.raises(ValueError, match=rf"from_torch: .*{fault}"):
        from_torch(whole)
    if not isinstance(module, nn.Sequential) and "nothing" not in fault and "keeps" not in fault:
        with pytest.raises(ValueError, match=rf"from_torch: 1\.0, a {type(module).__name__}: "):
            from_torch(whole)


def test_hooks_subclasses_and_what_is_no_module_are_refused():
    class Mine(nn.Linear):
        pass

    with pytest.raises(ValueError, match="from_torch: the model, a Mine: tinynn has no such layer"):
        from_torch(Mine(2, 1))
    hooked = nn.Linear(2, 1)
    hooked.register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match="it has hooks"):
        from_torch(nn.Sequential(hooked))
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 1)))
    with pytest.raises(ValueError, match="0, a ParametrizedLinear: tinynn has no such layer"):
        from_torch(normed)
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got 3"):
        from_torch(3)
    mixed = tnn.Sequential(tnn.Dense(1, 1), tnn.Dense(1, 1, dtype="float64"))
    for model in (mixed, tnn.Dense(1, 1, dtype="float16")):
        with pytest.raises(
            ValueError, match="to_torch: all layers must have dtype float32, or all"
        ):
            to_torch(model)


def test_a_module_that_was_trained_comes_back_and_one_that_was_changed_is_read():
    model = tnn.Sequential(
        tnn.Conv1d(1, 4, 3, padding="causal", activation="relu", rng=0),
        tnn.BatchNorm(4), tnn.Dense(4, 1),
    )  # fmt: skip
    model[0].bias.requires_grad = False
    module = to_torch(model)
    assert module.training
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True, True, True]
    filled(module)
    module.train()
    module[1].weight.requires_grad_(False)
    back = from_torch(module)
    assert list(back.state_dict()) == list(model.state_dict())
    assert back.training
    assert not back[0].kernel.requires_grad
    x = np.random.default_rng(0).normal(size=(2, 9, 1)).astype(np.float32)
    assert_equal_outputs(back, module.eval(), [x])
    np.testing.assert_array_equal(model[1].gamma.data, 1)  # weights are copies
    module[2] = nn.Tanh()
    changed = from_torch(module)
    assert changed[2].activation is tnn.tanh
    assert_equal_outputs(changed, module, [x])
    assert_equal_outputs(from_torch(module.double()), module, [x.astype(float)])
    for lie in ("{", "[]", '{"format": "tinynn model", "version": 1}', "[" * 100_000, 3):
        module.tinynn = lie
        assert_equal_outputs(from_torch(module), module, [x.astype(float)])


def test_layers_that_come_twice_are_one_module_and_one_layer():
    dense = tnn.Dense(2, 2, rng=0)
    model = tnn.Sequential(dense, tnn.Activation("tanh"), dense)
    module = to_torch(model)
    assert module[0] is module[2]
    assert len(list(from_torch(module).parameters())) == 2
    del module.tinynn
    assert len(list(from_torch(module).parameters())) == 2


def test_modules_are_copied_pickled_and_exported(tmp_path):
    model, series = drawn_model(5)
    model = tnn.Sequential(
        tnn.Conv1d(series[0].shape[2], 3, 4, strides=2, padding="same", rng=0), tnn.LayerNorm(3),
        tnn.Residual(tnn.AvgPool1d(4, strides=1, padding="same")), tnn.Activation("exponential"),
    )  # fmt: skip
    module = to_torch(model.eval())
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_equal_outputs(model, again, series)
        assert file_of(from_torch(again)) == file_of(model)
    free = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    x = torch.tensor(series[0].swapaxes(1, 2))
    made = torch.export.export(module, (x,), dynamic_shapes=(free,)).module()
    assert_equal_outputs(model, made, series)


def test_upsampling_repeats_each_step_for_any_size():
    x = np.arange(200.0, dtype=np.float32).reshape(1, -1, 1)
    for size in range(1, 100):  # nn.Upsample(mode="nearest") fails for 41, 47, 55
        module = nn.Upsample(scale_factor=size)
        if size in (41, 47, 55, 61, 82, 83, 94, 97):
            with pytest.raises(ValueError, match="mode='nearest' takes wrong steps for this size"):
                from_torch(module)
        else:
            assert_equal_outputs(from_torch(module), module, [x])
        np.testing.assert_array_equal(theirs(to_torch(tnn.UpSample1d(size)), x), x.repeat(size, 1))


OWN = tnn.formats.torch_out.needed("from_torch", "tinynn.formats.torch_modules")
FLAT = [nn.Conv1d(2, 2, 3), nn.Flatten()]


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ([*FLAT, OWN.Residual(nn.Linear(14, 14))], "2, a Residual: it stands between a Flatten"),
        ([*FLAT, OWN.Parallel([nn.Linear(14, 2)] * 2)], "2, a Parallel: it stands between"),
        ([OWN.Residual(nn.AdaptiveAvgPool1d(1))], "a Residual: its body does not keep the shape"),
        ([FLAT[0], OWN.Residual(nn.Conv1d(2, 1, 1))], "a Residual: its body does not keep"),
    ],
)
def test_what_would_give_other_numbers_is_refused(rest, fault):
    with pytest.raises(ValueError, match=rf"from_torch: \d, {fault}|from_torch: {fault}"):
        from_torch(nn.Sequential(*rest, nn.Flatten(), nn.Linear(14, 1)))


def test_shared_weights_stay_shared_or_are_refused():
    linear = nn.Linear(3, 3)
    model = from_torch(nn.Sequential(linear, nn.Sequential(nn.ReLU(), linear)))
    assert model[0] is model[1][1]
    tied = nn.Linear(3, 3)
    tied.weight = linear.weight
    with pytest.raises(ValueError, match="1, a Linear: its weight is that of 0, a Linear"):
        from_torch(nn.Sequential(linear, tied))
    shared = nn.Linear(14, 14)  # its rows are in another order the first time
    with pytest.raises(ValueError, match="3, a Linear: it comes again where its input is laid"):
        from_torch(nn.Sequential(*FLAT, shared, shared))
    dense = tnn.Dense(3, 3)
    both = tnn.Sequential(tnn.Conv1d(2, 3, 3), dense, tnn.GlobalMaxPool1d(), dense)
    with pytest.raises(ValueError, match=r"to_torch: layers\.1, a Dense: PyTorch has no layer for"):
        to_torch(both)


def test_options_that_were_changed_are_seen():
    module = to_torch(tnn.AvgPool1d(3, strides=1, padding="same"))
    module.count_include_pad = True
    with pytest.raises(ValueError, match="a AvgPool1d: tinynn has no count_include_pad=True"):
        from_torch(module)


def test_a_forward_of_its_own_and_missing_values_are_refused():
    for make in (lambda: nn.Linear(2, 1), lambda: to_torch(tnn.Dense(2, 1))):
        module = make()
        module.forward = lambda x: x
        with pytest.raises(ValueError, match="a Linear: it has hooks or a forward of its own"):
            from_torch(module)
    with pytest.raises(ValueError, match="a Linear: its weight has no values"):
        from_torch(nn.Linear(2, 1, device="meta"))
    hooked = to_torch(tnn.Dense(2, 1))
    hooked.register_forward_pre_hook(lambda *args: None)
    with pytest.raises(ValueError, match="a Linear: it has hooks"):
        from_torch(hooked)
