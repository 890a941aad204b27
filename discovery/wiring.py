"""The part that finds people: the directory, its snapshots, lookups, budgets and epochs."""

from datetime import timedelta

from core.maintenance import Job
from core.runtime import Part, Runtime
from discovery import changes
from discovery.alerts import UsageAlerts
from discovery.budget import Budgets, Tiers
from discovery.commands import discovery_commands
from discovery.directory import Directory, DirectoryUpdater
from discovery.epochs import Rotation
from discovery.metrics import DiscoveryMetrics
from discovery.routes import discovery_api
from discovery.service import DiscoveryService
from discovery.settings import DiscoverySettings
from tokens.wiring import Tokens


class Discovery(Part):
    """Lookups, and the directory that answers them."""

    def __init__(self, runtime: Runtime, settings: DiscoverySettings, tokens: Tokens) -> None:
        database, clock = runtime.database, runtime.clock
        metrics = DiscoveryMetrics(runtime.metrics)
        self.replicas = Directory(
            database,
            clock,
            metrics,
            settings.data_dir / "discovery",
            with_filter=settings.bloom_filter,
        )
        self.directory = DiscoveryService(
            database,
            clock,
            runtime.entropy,
            runtime.keyring,
            metrics,
            self.replicas,
            Budgets(Tiers.from_settings(settings)),
            UsageAlerts(settings, runtime.keyring, metrics),
            settings.max_hashes,
        )
        self.rotation = Rotation(
            database, clock, runtime.entropy, timedelta(settings.epoch_overlap_days)
        )
        self.keeper = DirectoryUpdater(
            database, clock, self.replicas, self.rotation, settings.epoch_days
        )
        tokens.events.listing_changed.append(self.directory.listing_changed)
        self.blueprints = (discovery_api,)
        self.commands = (discovery_commands,)
        self.jobs = (
            Job("directory changes", changes.purge),
            Job("epochs that are over", self.rotation.remove),
            Job("lookup budgets", Budgets.purge),
        )

    def start(self) -> None:
        """Keep the snapshot current."""
        self.keeper.start()
