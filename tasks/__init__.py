"""The built-in tasks: name -> where it is defined."""

TASKS = {
    "digits": "creditbench.tasks.digits:DIGITS",
    "digit-sums": "creditbench.tasks.digit_sums:DIGIT_SUMS",
    "mnist": "creditbench.tasks.idx_images:MNIST",
    "fashion-mnist": "creditbench.tasks.idx_images:FASHION_MNIST",
    "kmnist": "creditbench.tasks.idx_images:KMNIST",
    "digits-dvs": "creditbench.tasks.digits_dvs:DIGITS_DVS",
    "nmnist-1k": "creditbench.tasks.nmnist:NMNIST_1K",
    "nmnist": "creditbench.tasks.nmnist:NMNIST",
    "dvs-gesture": "creditbench.tasks.dvs_gesture:DVS_GESTURE",
    "shd": "creditbench.tasks.shd:SHD",
    "poker-dvs": "creditbench.tasks.poker_dvs:POKER_DVS",
    "cifar10": "creditbench.tasks.cifar10:CIFAR10",
}
