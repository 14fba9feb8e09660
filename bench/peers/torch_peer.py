"""The PyTorch side of the benchmarks: the same models, batches and optimiser, eager, fp32, at its fastest setting.

Reads one JSON command per line and answers with one JSON line, so that both sides can take turns in one run:

    {"do": "machine", "device": "cpu"}         versions and threads; on "cuda" everything that follows is on the GPU
    {"do": "make", "case": {...}}              builds model, optimiser and a batch
    {"do": "steps", "count": n}                runs n training steps or embedding batches; answers {"seconds": s}
    {"do": "precision", "name": "fp32"}        of products on the GPU from now on: fp32, tf32, or bf16 (autocast)
    {"do": "gemm", "m": , "k": , "n": , "count": }   products of two matrices

Fastest setting on CPU, tried: all cores; F.scaled_dot_product_attention; AdamW fused; foreach for clipping and for the
teacher's average; view() and no copies; zero_grad(set_to_none); matrix products by MKL or by oneDNN, whichever is faster
here and still as exact as fp32 (`faster_products`: MKL leaves AVX-512 unused on processors that are not Intel's).
"""
import contextlib
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    """Patches [b, n, p] and their positions to [b, 1 + n, d]."""

    def __init__(self, width, depth, heads, patch):
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.embed = nn.Linear(patch, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, patches, positions):
        x = self.embed(patches) + positions
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        return self.norm(self.blocks(x))


class Mae(nn.Module):
    def __init__(self, c):
        super().__init__()
        e, d = c["encoder"], c["decoder"]
        self.encoder = Vit(e["width"], e["depth"], e["heads"], c["patch"])
        self.embed = nn.Linear(e["width"], d["width"])
        self.mask_token = nn.Parameter(torch.randn(1, 1, d["width"]) * 0.02)
        self.blocks = nn.Sequential(*[Block(d["width"], d["heads"]) for _ in range(d["depth"])])
        self.norm = nn.LayerNorm(d["width"], eps=1e-6)
        self.pred = nn.Linear(d["width"], c["patch"])
        b, n, v = c["batch"], c["tokens"], c["visible"]
        self.visible, self.hidden = torch.randn(b, v, c["patch"]), torch.randn(b, n - v, c["patch"])
        self.order = torch.stack([torch.randperm(n) for _ in range(b)])
        self.codes, self.decoder_codes = torch.randn(n, e["width"]), torch.randn(n, d["width"])

    def loss(self):
        b, v = self.visible.shape[:2]
        n = self.order.shape[1]
        latent = self.embed(self.encoder(self.visible, self.codes[self.order[:, :v]]))
        tokens = torch.cat([latent[:, 1:], self.mask_token.expand(b, n - v, -1)], 1) + self.decoder_codes[self.order]
        x = self.norm(self.blocks(torch.cat([latent[:, :1], tokens], 1)))
        predicted = self.pred(x[:, 1 + v :])
        mean = self.hidden.mean(-1, keepdim=True)
        target = (self.hidden - mean) / (self.hidden.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return F.mse_loss(predicted, target)


class Student(nn.Module):
    def __init__(self, c):
        super().__init__()
        e, h = c["encoder"], c["head"]
        self.encoder = Vit(e["width"], e["depth"], e["heads"], c["patch"])
        self.fc1, self.fc2, self.fc3 = nn.Linear(e["width"], h), nn.Linear(h, h), nn.Linear(h, 256)

    def forward(self, patches, positions):
        x = self.encoder(patches, positions)[:, 0]
        return F.normalize(self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(x))))), dim=-1)


class Simdino(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.student, self.teacher = Student(c), Student(c)
        for p in self.teacher.parameters():
            p.requires_grad = False
        width, patch, self.b = c["encoder"]["width"], c["patch"], c["batch"]
        self.globals, self.locals = torch.randn(2 * self.b, c["tokens"], patch), None
        self.codes = torch.randn(c["tokens"], width)
        if c["localViews"]:
            self.locals = torch.randn(c["localViews"] * self.b, c["localTokens"], patch)
            self.local_codes = torch.randn(c["localTokens"], width)

    def loss(self):
        b = self.b
        views = self.student(self.globals, self.codes).view(2, b, 256)
        if self.locals is not None:
            views = torch.cat([views, self.student(self.locals, self.local_codes).view(-1, b, 256)])
        with torch.no_grad():
            teacher = self.teacher(self.globals, self.codes).view(2, b, 256)
        agreement = (teacher * (views.sum(0, keepdim=True) - views[:2])).sum() / (2 * (len(views) - 1) * b)
        m = min(b, 64)
        z = ((views[:2] + teacher) / 2).reshape(2 * b // m, m, 256)
        scale, gamma = 256 / (512 * 0.05), (256 + 512) / (256 * 512)
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            rate = torch.logdet(torch.eye(m) + scale * z @ z.transpose(1, 2)).mean() / 2
        return -agreement - gamma * rate

    @torch.no_grad()
    def follow(self, mu):
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 1 - mu)


precision = "fp32"


def reduced():
    return torch.autocast("cuda", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def synchronize():
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


class Training:
    def __init__(self, c):
        self.model = Mae(c) if c["method"] == "mae" else Simdino(c)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        matrices, others = [p for p in learned if p.ndim == 2], [p for p in learned if p.ndim != 2]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.learned = learned
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)

    def run(self):
        with reduced():
            loss = self.model.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learned, 3.0, foreach=True)
        self.optimizer.step()
        if isinstance(self.model, Simdino):
            self.model.follow(0.99)
        return loss.item()


class Embedding:
    def __init__(self, c):
        e = c["encoder"]
        self.model = Vit(e["width"], e["depth"], e["heads"], c["patch"]).eval()
        self.patches, self.codes = torch.randn(c["batch"], c["tokens"], c["patch"]), torch.randn(c["tokens"], e["width"])

    @torch.inference_mode()
    def run(self):
        tokens = self.model(self.patches, self.codes)
        return (tokens[:, 0] + tokens[:, 1:].mean(1)).sum().item()


def seconds_of_product(n=1024, turns=5):
    a, b = torch.randn(n, n), torch.randn(n, n)
    best = float("inf")
    for _ in range(turns):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return best


def faster_products():
    """Has oneDNN compute matrix products where that is faster and does not round more than fp32 does; tells who does.

    PyTorch's only switch to oneDNN allows it bf16 inside, which it uses where the processor has tiles for it: so the
    error is looked at. An fp32 product of 512 x 512 is right to about 1e-6 of its largest number, one in bf16 to 1e-3.
    """
    products = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(products, "fp32_precision"):
        return "MKL"
    plain, before = seconds_of_product(), products.fp32_precision
    products.fp32_precision = "bf16"
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    exact = a.double() @ b.double()
    error = ((a @ b - exact).abs().max() / exact.abs().max()).item()
    if error < 1e-5 and seconds_of_product() < plain:
        return "oneDNN"
    products.fp32_precision = before
    return "MKL"


def main():
    global precision
    job = None
    for line in sys.stdin:
        command = json.loads(line)
        torch.set_num_threads(command.get("threads", torch.get_num_threads()))
        answer = {}
        if command["do"] == "machine":
            where = f"{torch.get_num_threads()} threads"
            if command.get("device") == "cuda":
                torch.set_default_device("cuda")
                where = torch.cuda.get_device_name()
            else:
                where += f", products by {faster_products()}"
            answer = {"peer": f"PyTorch {torch.__version__} eager, fp32, {where}"}
        elif command["do"] == "precision":
            precision = command["name"]
            torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        elif command["do"] == "make":
            torch.manual_seed(0)
            job = (Embedding if command["case"]["method"] == "embed" else Training)(command["case"])
        elif command["do"] == "steps":
            began = time.perf_counter()
            for _ in range(command["count"]):
                answer["last"] = job.run()
            answer["seconds"] = time.perf_counter() - began
        elif command["do"] == "gemm":
            a, b = torch.randn(command["m"], command["k"]), torch.randn(command["k"], command["n"])
            out = a @ b
            synchronize()
            began = time.perf_counter()
            for _ in range(command["count"]):
                torch.mm(a, b, out=out)
            synchronize()
            answer["seconds"] = time.perf_counter() - began
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
