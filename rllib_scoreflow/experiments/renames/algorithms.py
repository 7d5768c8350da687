"""Algorithms that are gone from RLlib, and which one is nearest."""

from rllib_scoreflow.experiments.renames.table import Entry, Removed, Table


def _gone(instead: str, names: str) -> dict[str, Entry]:
    return dict.fromkeys(names.split(), Removed(f"RLlib has dropped it; {instead}"))


ALGORITHMS: Table = {
    **_gone("run PPO, or APPO where many EnvRunners sample", "A2C A3C PG DDPPO ES ARS MBMPO MAML"),
    **_gone("run SAC", "DDPG TD3 APEX_DDPG ApexDDPG"),
    **_gone("run DQN (SimpleQ is DQN with dueling: false and double_q: false)", "SimpleQ APEX ApexDQN R2D2 QMIX"),
    **_gone("run CQL or MARWIL", "CRR DT"),
    **_gone("run DreamerV3", "Dreamer DREAMER"),
    **_gone("no algorithm of RLlib takes its place", "SlateQ MADDPG AlphaZero AlphaStar LeelaChessZero RandomAgent"),
    **_gone("no algorithm of RLlib takes its place", "BanditLinUCB BanditLinTS contrib/MADDPG contrib/AlphaZero"),
}
