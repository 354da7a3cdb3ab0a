"""What CUDA refuses and what it allows, a line each: the fake accelerator must do the same.

Names in the lines: ``c0, c1`` are CPU tensors without axes and with one, ``g0, g1`` the same on
the device, ``images`` one (2, 1, 6, 6) on the device.
"""

REFUSED = [
    # together in one operation
    *("g1 < c1", "g0 + c1", "torch.maximum(g1, c1)", "torch.clamp(g1, min=c1)", "g1 @ c1"),
    *("torch.where(g1 > 0, g1, c1)", "torch.where(c1 > 0, g1, g1)", "torch.lerp(g1, g1, c1)"),
    *("g1.masked_fill(c1 > 0, 0.0)", "g1.new_zeros(3) + c1", "g1.to('cpu') + g1"),
    *("torch.cat((g1, c1))", "torch.stack((g1, c1))", "torch.outer(g1, c1)"),
    *("torch.einsum('i,j->ij', g1, c1)", "torch.addmm(g1, torch.eye(3), torch.eye(3))"),
    *("torch.linalg.solve(torch.eye(3, device='cuda'), c1)", "torch.cdist(g1[None], c1[None])"),
    *("torch.searchsorted(g1, c1)", "torch.bincount(g1.long(), c1)", "F.mse_loss(g1, c1)"),
    "torch.fft.rfft(g1) * c1[:2]",
    # indices
    *("c1[g1.long() - 1]", "c1[g1 > 0]", "g1.gather(0, c1.long() - 1)"),
    *("g1.index_select(0, c1.long() - 1)", "g1.scatter_add(0, c1.long() - 1, g1)"),
    "g1.index_add(0, torch.tensor([0]).cuda(), c1[:1])",
    "g1.clone().__setitem__(g1 > 0, c1)",
    # in place
    *("g1.clone().add_(c1)", "c1.clone().add_(g1)"),
    # networks
    *("F.linear(g1, torch.ones(2, 3))", "F.conv2d(images, torch.ones(1, 1, 3, 3))"),
    "F.grid_sample(images, torch.zeros(2, 4, 4, 2), align_corners=False)",
    *("nn.Linear(3, 2)(g1)", "nn.Linear(3, 2).to('cuda')(c1)"),
    "nn.Linear(3, 2).to('cuda')(c1).sum().backward()",
    # to numpy
    *("g1.numpy()", "np.asarray(g1)"),
    # random numbers
    "torch.randn(3, device='cuda', generator=torch.Generator())",
    "torch.multinomial(g1, 2, generator=torch.Generator())",
]
ALLOWED = [
    # numbers, also those of the CPU
    *("g1 + c0", "c0 * g1", "torch.where(g1 > 0, g1, c0)", "g1.masked_fill(g1 > 0, c0)"),
    *("torch.clamp(g1, min=c0)", "torch.maximum(g1, c0)", "g1.clone().__setitem__(g1 > 0, c0)"),
    # copies
    *("g1.cpu() + c1", "g1.cpu().numpy()", "g1.tolist()", "float(g1.sum())", "g0.item()"),
    *("g1.clone().copy_(c1)", "c1.clone().copy_(g1)", "torch.full((3,), 1.0).to(g1) + g1"),
    "g1.clone().__setitem__(slice(0, 2), c1[:2])",
    "c1.clone().__setitem__(slice(0, 2), g1[:2])",
    # indices
    *("g1[c1.long() - 1]", "g1[c1 > 0]", "g1[g1 > 0]"),
    # made on the device
    *("torch.tensor([1.0, 2, 3], device=g1.device) + g1", "torch.arange(3, device='cuda') + g1"),
    *("g1.new_tensor([1.0, 2, 3]) + g1", "torch.randn_like(g1) + g1"),
    # networks
    *("nn.Linear(3, 2).to('cuda')(g1)", "nn.Linear(3, 2).to('cuda')(g1).sum().backward()"),
    "F.conv2d(images, torch.ones(1, 1, 3, 3, device='cuda'))",
]
REFUSED_BY_MPS = [
    *(
        "g1.double()",
        "torch.zeros(3, dtype=torch.float64, device='mps')",
        "g1.to(torch.complex128)",
    ),
    "torch.linalg.matrix_exp(torch.eye(3, device='mps'))",
]
ALLOWED_BY_MPS = ["g1.cpu().double()", "g1.half()", "torch.eye(3, device='mps') @ g1"]
WAITS = {
    "g1 + g1": 0,
    "g1 + c0": 0,
    "g1.view(3, 1).expand(3, 2)": 0,
    "torch.zeros(3, device='cuda')": 0,
    "torch.randn(3, device='cuda')": 0,
    "c1.to('cuda')": 1,
    "torch.tensor([1.0, 2.0], device='cuda')": 1,
    "g1.cpu()": 1,
    "float(g1.sum())": 1,
    "(g1 > 0).nonzero()": 1,
    "g1[g1 > 0]": 1,
    "g1[g1.long() - 1]": 0,
    "bool((g1 > 0).all())": 1,
}
"""How often the host waits for the device."""
