"""The published command for ``--netD sesam``. It only calls train.py, which has every discriminator: use that."""

import sys

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import train

if __name__ == "__main__":
    print("trainSesame.py: train.py trains with every --netD; this name only calls it", file=sys.stderr)
    sys.exit(train.main())
