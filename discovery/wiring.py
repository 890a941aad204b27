"""The part that finds people: the directory, its snapshots, lookups, budgets and epochs."""

from datetime import timedelta

from core.maintenance import Job
from core.runtime import Part, Runtime
from discovery import changes
from discovery.alerts import UsageAlerts
from discovery.budget import Budgets, Tiers
from discovery.budget_owners import SyncTokens
from discovery.commands import discovery_commands
from discovery.directory import Directory
from discovery.epochs import Rotation
from discovery.metrics import DiscoveryMetrics
from discovery.routes import discovery_api
from discovery.service import DiscoveryService
from discovery.settings import DiscoverySettings
from discovery.updater import DirectoryUpdater
from tokens.wiring import Tokens


class Discovery(Part):
    """Lookups, and the directory that answers them."""

    def __init__(self, runtime: Runtime, settings: DiscoverySettings, tokens: Tokens) -> None:
        database, clock, entropy = runtime.database, runtime.clock, runtime.entropy
        metrics = DiscoveryMetrics(runtime.metrics)
        self.directory = Directory(database, clock, metrics, settings.data_dir / "discovery")
        self.service = DiscoveryService(
            database,
            clock,
            entropy,
            runtime.keyring,
            metrics,
            self.directory,
            Budgets(Tiers.from_settings(settings)),
            UsageAlerts(settings, runtime.keyring, metrics),
            SyncTokens(runtime.keyring),
            settings.max_hashes,
        )
        self.rotation = Rotation(database, clock, entropy, timedelta(settings.epoch_overlap_days))
        self.updater = DirectoryUpdater(
            database, clock, self.directory, self.rotation, settings.epoch_days
        )
        tokens.events.listing_changed.append(self.service.listing_changed)
        self.blueprints = (discovery_api(tokens.authenticator, self.service),)
        self.commands = (
            discovery_commands(runtime, self.service, self.directory, self.rotation, self.updater),
        )
        self.jobs = (
            Job("directory changes", changes.purge),
            Job("ended epochs", self.rotation.remove),
            Job("lookup budgets", Budgets.purge),
        )

    def start(self) -> None:
        """Keep snapshots current."""
        self.updater.start()
