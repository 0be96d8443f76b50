"""Non-local means beside scikit-image and OpenCV: seconds, PSNR, growth of the time, memory (lesson 01)."""

from __future__ import annotations

import json
import sys

import numpy as np
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means
from skimage.util import img_as_float32

from benchmarks.runner import MISSING, Bench, grown_by, peer
from dnl_course.denoise import nl_means

SEED, NOISE = 0, 0.08
WINDOW = {"patch_size": 5, "patch_distance": 10}
WITH_SIGMA = {"h": 0.65 * NOISE, "sigma": NOISE, **WINDOW}
WITHOUT_SIGMA = {"h": NOISE, **WINDOW}  # OpenCV takes no sigma


def photograph(side: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Return (clean, noisy), float32, side x side; beyond 512 the photograph repeats."""
    clean = img_as_float32(skimage.data.camera())
    clean = np.tile(clean, (-(-side // 512),) * 2)[:side, :side]
    noise = NOISE * np.random.default_rng(SEED).standard_normal(clean.shape)
    return np.ascontiguousarray(clean), (clean + noise).astype(np.float32)


def _opencv(cv2, noisy: np.ndarray):
    """OpenCV's version takes 8 bits; the conversion is not timed."""
    steps = np.clip(np.rint(255 * noisy), 0, 255).astype(np.uint8)
    h, p, window = 255 * WITHOUT_SIGMA["h"], WINDOW["patch_size"], 2 * WINDOW["patch_distance"] + 1
    return lambda: cv2.fastNlMeansDenoising(steps, None, h, p, window)


def _implementations(noisy: np.ndarray, threads: int) -> dict:
    runs = {
        "dnl_course, sigma given": lambda: nl_means(noisy, **WITH_SIGMA),
        "skimage fast_mode, sigma given": lambda: denoise_nl_means(noisy, fast_mode=True, **WITH_SIGMA),
        "dnl_course": lambda: nl_means(noisy, **WITHOUT_SIGMA),
        "skimage fast_mode": lambda: denoise_nl_means(noisy, fast_mode=True, **WITHOUT_SIGMA),
    }
    if cv2 := peer("cv2"):
        cv2.setNumThreads(threads)
        runs["OpenCV, 8 bits"] = _opencv(cv2, noisy)
    if torch.cuda.is_available():
        on_gpu = torch.from_numpy(noisy).cuda()
        runs["dnl_course, sigma given, GPU"] = lambda: nl_means(on_gpu, **WITH_SIGMA).cpu().numpy()  # .cpu() waits
    return runs


def _side_by_side(bench: Bench) -> None:
    clean, noisy = photograph()
    runs = _implementations(noisy, bench.threads)
    seconds = bench.seconds("512 x 512", runs)
    rows = [
        dict.fromkeys(("implementation", "seconds", "fastest", "x fast_mode"))
        | {"implementation": "noisy photograph", "PSNR (dB)": _psnr(clean, noisy)}
    ]
    for name, run in runs.items():
        peer_name = "skimage fast_mode, sigma given" if "sigma" in name else "skimage fast_mode"
        rows.append(
            {
                "implementation": name,
                "seconds": seconds[name].median,
                "fastest": seconds[name].fastest,
                "x fast_mode": seconds[peer_name].median / seconds[name].median,
                "PSNR (dB)": _psnr(clean, run()),
            }
        )
    if "OpenCV, 8 bits" not in runs:
        rows.append({"implementation": "OpenCV, 8 bits", "note": MISSING})
    settings = {
        "photograph": "camera 512 x 512 float32",
        "noise": NOISE,
        "seed": SEED,
        **WINDOW,
        "repeats": bench.repeats,
    }
    bench.table(
        "Non-local means: h = 0.65 sigma where sigma is given, else h = sigma; x fast_mode: how many times as fast",
        rows,
        **settings,
    )


def _psnr(clean: np.ndarray, image: np.ndarray) -> float:
    image = image / 255 if image.dtype == np.uint8 else image
    return float(peak_signal_noise_ratio(clean.astype(float), image.astype(float), data_range=1))


def _growth(bench: Bench) -> None:
    sides = {side: photograph(side)[1] for side in (128, 256, 512, 1024)}
    runs = {str(side): lambda x=noisy: nl_means(x, **WITH_SIGMA) for side, noisy in sides.items()}
    seconds = bench.seconds("larger images", runs, repeats=5)
    rows = [
        {
            "side (px)": side,
            "fastest (s)": seconds[str(side)].fastest,
            "ns per pixel": 1e9 * seconds[str(side)].fastest / side**2,
        }
        for side in sides
    ]
    bench.table("Time is linear in the pixels (small images: the calls themselves)", rows, **WINDOW)

    distances = (5, 10, 15, 20)
    runs = {str(t): lambda t=t: nl_means(sides[512], **{**WITH_SIGMA, "patch_distance": t}) for t in distances}
    seconds = bench.seconds("larger windows", runs, repeats=5)
    rows = [
        {
            "patch_distance": t,
            "candidates": (2 * t + 1) ** 2,
            "fastest (s)": seconds[str(t)].fastest,
            "ns per pixel and candidate": 1e9 * seconds[str(t)].fastest / 512**2 / (2 * t + 1) ** 2,
        }
        for t in distances
    ]
    bench.table("Time is linear in the candidates, (2 patch_distance + 1)^2", rows, side="512 px", patch_size=5)

    sizes = (3, 5, 7, 11, 15)
    runs = {str(p): lambda p=p: nl_means(sides[512], **{**WITH_SIGMA, "patch_size": p}) for p in sizes}
    seconds = bench.seconds("larger patches", runs, repeats=5)
    rows = [{"patch_size": p, "fastest (s)": seconds[str(p)].fastest} for p in sizes]
    bench.table("Time hardly grows with the patch", rows, side="512 px", patch_distance=10)


def _memory(bench: Bench) -> None:
    rows = []
    for name in ("dnl_course, sigma given", "skimage fast_mode, sigma given", "OpenCV, 8 bits"):
        for side in (512, 1024, 2048):
            if name.startswith("OpenCV") and not peer("cv2"):
                rows.append({"implementation": name, "note": MISSING})
                break
            peak = bench.in_fresh_process("benchmarks.denoise", name, str(side), str(bench.threads))
            margin = WINDOW["patch_distance"] + WINDOW["patch_size"] // 2
            padded = 4 * (side + 2 * margin) ** 2
            rows.append(
                {
                    "implementation": name,
                    "side (px)": side,
                    "MiB": peak["bytes"] / 2**20,
                    "copies": peak["bytes"] / padded,
                }
            )
    bench.table("Peak memory of a fresh process above what it held before; in copies of the padded float32 image", rows)


def run(bench: Bench) -> None:
    """Print the tables of lesson 01."""
    _side_by_side(bench)
    _growth(bench)
    _memory(bench)


if __name__ == "__main__":  # one measurement of `_memory`
    implementation, side, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    _implementations(photograph(32)[1], threads)[implementation]()  # starts threads, loads what is loaded late
    work = _implementations(photograph(side)[1], threads)[implementation]
    print(json.dumps({"bytes": grown_by(work)}))
