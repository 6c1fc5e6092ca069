"""AU-GAN and ForkGAN: their networks and losses."""
