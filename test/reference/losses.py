"""Losses, gradients and one AdamW step of PyTorch, for test/parity.test.ts.

Weights and inputs are formulas, so that the fixture holds results only:

    value i of the k-th array (arrays sorted by name) is 0.3 sin(0.7 i + 1.3 k), plus 1 for norm weights

Run: python test/reference/losses.py > test/fixtures/losses.json     (PyTorch 2.13)
"""

import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
WIDTH, DEPTH, HEADS, PATCH, P = 12, 2, 2, (2, 4, 4), 2 * 4 * 4 * 3
DEC_WIDTH, DEC_DEPTH, DEC_HEADS = 12, 1, 2


def formula(shape, k, plus=0.0):
    n = math.prod(shape)
    return (0.3 * torch.sin(0.7 * torch.arange(n) + 1.3 * k) + plus).reshape(shape)


def block_shapes(prefix, depth, width):
    out = {}
    for i in range(depth):
        at = f"{prefix}blocks.{i}."
        for name, a, b in [("attn.qkv", width, 3 * width), ("attn.proj", width, width),
                           ("mlp.fc1", width, 4 * width), ("mlp.fc2", 4 * width, width)]:
            out[at + name + ".weight"], out[at + name + ".bias"] = (a, b), (b,)
        for norm in ("norm1", "norm2"):
            out[at + norm + ".weight"], out[at + norm + ".bias"] = (width,), (width,)
    return out


def linear_shapes(name, a, b):
    return {name + ".weight": (a, b), name + ".bias": (b,)}


def encoder_shapes():
    return {"encoder/cls": (1, WIDTH), **linear_shapes("encoder/patch_embed", P, WIDTH),
            **block_shapes("encoder/", DEPTH, WIDTH), "encoder/norm.weight": (WIDTH,), "encoder/norm.bias": (WIDTH,)}


def make(shapes):
    names = sorted(shapes)
    return {n: formula(shapes[n], k, 1.0 if "norm" in n and n.endswith("weight") else 0.0).requires_grad_()
            for k, n in enumerate(names)}


def positions(grid, width):
    def axis(count, size):
        half = size // 2
        omega = 10000.0 ** (-torch.arange(half) / half)
        angle = torch.arange(count)[:, None] * omega
        return torch.cat([angle.sin(), angle.cos()], 1)
    in_plane = 2 * (width // 6)
    sizes = [width - 2 * in_plane, in_plane, in_plane]
    z, y, x = (axis(c, s) for c, s in zip(grid, sizes))
    gd, gh, gw = grid
    return torch.cat([z[:, None, None].expand(gd, gh, gw, -1), y[None, :, None].expand(gd, gh, gw, -1),
                      x[None, None].expand(gd, gh, gw, -1)], -1).reshape(-1, width)


def lin(p, name, x):
    return x @ p[name + ".weight"] + p[name + ".bias"]


def blocks(p, prefix, depth, heads, h):
    for i in range(depth):
        at = f"{prefix}blocks.{i}."
        norm = lambda n, v: F.layer_norm(v, v.shape[-1:], p[at + n + ".weight"], p[at + n + ".bias"], 1e-6)
        b, t, d = h.shape
        q, k, v = lin(p, at + "attn.qkv", norm("norm1", h)).reshape(b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        h = h + lin(p, at + "attn.proj", o)
        h = h + lin(p, at + "mlp.fc2", F.gelu(lin(p, at + "mlp.fc1", norm("norm2", h))))
    return h


def encode(p, prefix, patches, pos):
    x = lin(p, prefix + "patch_embed", patches) + pos
    h = torch.cat([p[prefix + "cls"][None].expand(len(x), -1, -1), x], 1)
    h = blocks(p, prefix, DEPTH, HEADS, h)
    return F.layer_norm(h, (WIDTH,), p[prefix + "norm.weight"], p[prefix + "norm.bias"], 1e-6)


def digest(tensors):
    """Norm and first entries of each array: enough to catch any mistake, small enough to commit."""
    return {n: {"norm": t.norm().item(), "head": t.flatten()[:3].tolist()} for n, t in tensors.items()}


def adamw(p, groups_lr, wd, betas):
    decay = [t for n, t in p.items() if t.ndim >= 2 and n.endswith(".weight")]
    rest = [t for n, t in p.items() if not (t.ndim >= 2 and n.endswith(".weight"))]
    return torch.optim.AdamW([{"params": decay, "weight_decay": wd}, {"params": rest, "weight_decay": 0.0}],
                             lr=groups_lr, betas=betas, eps=1e-8)


def finish(p, loss, lr, wd, betas):
    loss.backward()
    grads = {n: t.grad.clone() for n, t in p.items()}
    norm = torch.nn.utils.clip_grad_norm_(list(p.values()), 3.0)
    opt = adamw(p, lr, wd, betas)
    opt.step()
    return {"gradients": digest(grads), "gradientNorm": norm.item(),
            "updated": digest({n: t.detach() for n, t in p.items()})}


def mae():
    grid, b, v = (2, 2, 3), 2, 3
    n = math.prod(grid)
    shapes = {**encoder_shapes(), "decoder/mask_token": (1, DEC_WIDTH), **linear_shapes("decoder/embed", WIDTH, DEC_WIDTH),
              **block_shapes("decoder/", DEC_DEPTH, DEC_WIDTH), "decoder/norm.weight": (DEC_WIDTH,),
              "decoder/norm.bias": (DEC_WIDTH,), **linear_shapes("decoder/pred", DEC_WIDTH, P)}
    p = make(shapes)
    patches = formula((b, n, P), 99)
    order = torch.stack([torch.arange(n) * 5 % n, (torch.arange(n) * 7 + 1) % n])  # permutations of 12
    # The usual way: gather the visible, put mask tokens back in raster order, score the hidden.
    pos, dpos = positions(grid, WIDTH), positions(grid, DEC_WIDTH)
    keep = order[:, :v]
    visible = torch.gather(patches, 1, keep[..., None].expand(-1, -1, P))
    z = encode(p, "encoder/", visible, pos[keep])
    z = lin(p, "decoder/embed", z)
    full = p["decoder/mask_token"][None].expand(b, n, -1)
    full = full.scatter(1, keep[..., None].expand(-1, -1, DEC_WIDTH), z[:, 1:])
    h = torch.cat([z[:, :1], full + dpos], 1)
    h = blocks(p, "decoder/", DEC_DEPTH, DEC_HEADS, h)
    h = F.layer_norm(h, (DEC_WIDTH,), p["decoder/norm.weight"], p["decoder/norm.bias"], 1e-6)
    predicted = lin(p, "decoder/pred", h)[:, 1:]
    target = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    hidden = torch.ones(b, n).scatter(1, keep, 0.0)
    loss = (((predicted - target) ** 2).mean(-1) * hidden).sum() / hidden.sum()
    return {"grid": grid, "b": b, "visible": v, "order": order.tolist(), "loss": loss.item(),
            **finish(p, loss, 0.01, 0.05, (0.9, 0.95))}


def simdino(pooled=False):
    """The authors' way; or with mean pooling, where the student sees only some tokens of the global views."""
    b, views, out, hid = 4, 2, 8, 10
    eps, rows, n_eff = 0.05, 2, 16
    shapes = {**encoder_shapes(), **linear_shapes("head/fc1", WIDTH, hid), **linear_shapes("head/fc2", hid, hid),
              **linear_shapes("head/fc3", hid, out)}
    p = make(shapes)
    teacher = {n: t.detach() * 0.9 for n, t in p.items()}
    gg, lg = (2, 2, 2), (1, 2, 1)
    globals_, locals_ = formula((2 * b, math.prod(gg), P), 50), formula((views * b, math.prod(lg), P), 51)

    n, k = math.prod(gg), 4
    places = torch.stack([(torch.arange(n) * 3 + row) % n for row in range(2 * b)])[:, :k]
    seen = torch.gather(globals_, 1, places[..., None].expand(-1, -1, P))

    def see(q, x, pos):
        z = encode(q, "encoder/", x, pos)
        z = z[:, 1:].mean(1) if pooled else z[:, 0]
        z = lin(q, "head/fc3", F.gelu(lin(q, "head/fc2", F.gelu(lin(q, "head/fc1", z)))))
        return F.normalize(z, dim=-1).reshape(-1, b, out)

    pos = positions(gg, WIDTH)
    zt = see(teacher, globals_, pos)
    zs = torch.cat([see(p, seen, pos[places]) if pooled else see(p, globals_, pos), see(p, locals_, positions(lg, WIDTH))])
    terms = [(zt[t] * zs[s]).sum(-1).mean() for t in range(2) for s in range(2 + views) if s != t]
    agreement = sum(terms) / len(terms)
    scale, gamma = out / (n_eff * eps), (out + n_eff) / (out * n_eff)
    rates = []
    for v in range(2):
        feature = (zs[v] + zt[v]) / 2
        for shard in feature.split(rows):
            rates.append(0.5 * torch.logdet(torch.eye(out) + scale * shard.T @ shard))
    expansion = gamma * sum(rates) / len(rates)
    loss = -agreement - expansion
    return {"globalGrid": gg, "localGrid": lg, "b": b, "out": out, "hidden": hid, "epsilon": eps, "shardRows": rows,
            "effectiveBatch": n_eff, "places": places.tolist(), "loss": loss.item(), "agreement": agreement.item(), "expansion": expansion.item(),
            **finish(p, loss, 0.01, 0.04, (0.9, 0.999))}


def log_det():
    torch.manual_seed(0)
    z = F.normalize(formula((2, 64, 256), 3) + 0.02 * formula((2, 64, 256), 7).cos(), dim=-1).requires_grad_()
    rate = 0.5 * torch.logdet(torch.eye(256) + 10.0 * z.transpose(1, 2) @ z).mean()
    rate.backward()
    return {"rate": rate.item(), "gradient": digest({"z": z.grad})["z"]}


if __name__ == "__main__":
    json.dump({"torch": torch.__version__, "mae": mae(), "simdino": simdino(), "simdinoPooled": simdino(pooled=True), "logDet": log_det()}, sys.stdout, indent=1)
