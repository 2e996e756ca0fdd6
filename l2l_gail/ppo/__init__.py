"""PPO whose rollouts and updates are tensors, on stable-baselines3's surface."""
