"""From a `Configuration` to live adapters, each built when it is first asked for.

Rule 1: building opens no connection; an adapter does that when it is used.
Rule 2: one store object a name and one target object a service, however often they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.config.model import Check, Configuration, Group, Publication, Service, plain_options, references
from adapters.config.planning import plan_for
from adapters.config.problems import ConfigInvalid, KeyPath, Problem, dotted
from adapters.config.references import ReferenceReader
from adapters.registry import (
    AnyAdapter,
    check_adapter,
    discovery_adapter,
    distributor_adapter,
    missing_driver,
    store_adapter,
    target_adapter,
)
from adapters.system import FINGERPRINT_KEY, installation_key
from engine.adapter import (
    CheckContext,
    DiscoveryContext,
    DistributorContext,
    Reference,
    StoreContext,
    TargetContext,
)
from engine.errors import NoSuchGroup, NoSuchService, PortError, Rejected
from engine.health import HealthCheck
from engine.instances import Discovery, Distributor
from engine.passwords import PasswordRule
from engine.plan import Plan
from engine.ports import SecretStore, Target, TargetCapabilities
from engine.values import CURRENT, CredentialValue, Form, Instant, fingerprint

_DIGEST_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class PublishedPlace:
    """A `Place`: a path of a store that gets the current version in the form that is asked for."""

    publication: Publication
    service: Service
    store: SecretStore
    key: Callable[[], bytes] = field(repr=False)
    """Return the key of fingerprints of this installation."""

    @property
    def name(self) -> str:
        """`store:key`, as in `Plan.places`."""
        return self.publication.name

    def publish(self, value: CredentialValue, *, version: str, deadline: Instant | None = None) -> None:
        """Make the rendered value current there; the same version in the same form again is the same write once.

        In a store with versions, a version has an id for each of its forms: a template, or what it shows of the
        options, may be edited, and going back to a version must still be possible.

        Raises `Rejected` where it cannot be rendered, and what the store raises. Of a store with versions only what
        the service keeps stays.
        """
        rendered = self._rendered(value, version)
        key = self.publication.keys.key
        if not self.store.capabilities.versioned:
            self.store.promote(key, version, rendered, expected=None, deadline=deadline)
            return
        current = self.store.versions(key).current
        form = f"{version}.{self._digest(rendered)}"
        self.store.stage(key, form, rendered, deadline=deadline)
        self.store.promote(key, form, rendered, expected=current, deadline=deadline)
        self._forget_old(key)

    def has(self, value: CredentialValue, *, version: str) -> bool | None:
        """Tell whether the rendered value is current there; None where that cannot be read back."""
        if not self.store.capabilities.readable:
            return None
        try:
            published, wanted = self.read(), self._rendered(value, version)
        except PortError:
            return None
        return published is not None and published.secret == wanted.secret

    def _rendered(self, value: CredentialValue, version: str) -> CredentialValue:
        """Return a value in the form that is published; raises `Rejected` where that cannot be made of it."""
        what = f"publishing {self.service.name} to {self.name}"
        if value.secret is None or value.form is not Form.PLAIN:
            raise Rejected(what=what, why="the value holds no secret that could be used to log in")
        names = plain_options(self.service.options)
        names |= {"username": value.username, "password": value.revealed(), "version": version}
        names |= {"service": self.service.name, "environment": self.service.environment}
        return CredentialValue(value.username, self.publication.template.render(names, what=what))

    def read(self) -> CredentialValue | None:
        """Return what is published there now; None where nothing is. Raises what the store raises."""
        return self.store.read(self.publication.keys.key, CURRENT)

    def _digest(self, rendered: CredentialValue) -> str:
        """Return 48 bits that tell forms of one version apart; under a key, because ids are no secrets."""
        return fingerprint(rendered, credential=f"place/{self.name}", key=self.key())[:_DIGEST_LENGTH]

    def _forget_old(self, key: str) -> None:
        held = self.store.versions(key)
        for version in held.versions[: -self.service.rotation.keep_versions]:
            if version not in (held.current, held.previous, held.pending):
                self.store.discard(key, version, destroy=True)


class Wiring:
    """Builds what the services of a configuration need, on demand."""

    def __init__(self, configuration: Configuration, state_folder: Path) -> None:
        self.configuration: Final = configuration
        self.state_folder: Final = state_folder
        self._stores: dict[str, SecretStore] = {}
        self._targets: dict[str, Target] = {}
        self._checks: dict[str, list[HealthCheck]] = {}
        self._discoveries: dict[str, Discovery] = {}
        self._distributors: dict[str, Distributor] = {}

    def service(self, name: str) -> Service:
        """Return a service; raises `NoSuchService`."""
        services = self.configuration.services
        if name not in services:
            near = get_close_matches(name, list(services), n=1)
            raise NoSuchService(service=name, suggestion=f" Did you mean {near[0]!r}?" if near else "")
        return services[name]

    def store(self, name: str) -> SecretStore:
        """Return a store of the configuration; raises what its adapter raises, `MissingDriver` among it."""
        if name not in self._stores:
            entry = self.configuration.stores[name]
            adapter = store_adapter(entry.type)
            secret = self.reader(entry.options, ("secretStores", name))
            context = StoreContext(name=name, base=self.configuration.base, state=self.state_folder, secret=secret)
            self._stores[name] = _built(adapter, entry.options, context)
        return self._stores[name]

    def held_in(self, service: str) -> SecretStore:
        """Return the store that holds a service's credential; raises `ConfigInvalid` where it keeps no versions."""
        entry = self.service(service)
        found = self.store(entry.credential.store)
        if not (found.capabilities.versioned and found.capabilities.readable):
            key = dotted(("services", service, "credential", "store"))
            message = "this store keeps only one value, so it cannot hold a credential that may have to go back."
            file = str(self.configuration.path)
            raise ConfigInvalid(file, [Problem(file, 1, 1, key, message, "Use a store with versions.")])
        return found

    def target(self, service: str) -> Target:
        """Return the target of a service; raises `NoSuchService` and what its adapter raises."""
        if service not in self._targets:
            entry = self.service(service)
            adapter = target_adapter(entry.type)
            context = TargetContext(
                service=entry.name,
                environment=entry.environment,
                strategy=entry.strategy,
                username=entry.credential.username,
                usernames=entry.usernames,
                base=self.configuration.base,
                state=self.state_folder,
                secret=self.reader(entry.options, ("services", service)),
                verification_timeout=entry.rotation.verification.timeout.microseconds,
            )
            self._targets[service] = _built(adapter, entry.options, context)
        return self._targets[service]

    def checks(self, service: str) -> list[HealthCheck]:
        """Return the health checks of a service, in the order of the file; raises what their adapters raise."""
        if service not in self._checks:
            self._checks[service] = [self._check(self.service(service), each) for each in self.service(service).checks]
        return self._checks[service]

    def group(self, name: str) -> Group:
        """Return a service group; raises `NoSuchGroup`."""
        known = self.configuration.groups
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            raise NoSuchGroup(group=name, suggestion=f" Did you mean {near[0]!r}?" if near else "")
        return known[name]

    def looks(self, group: str) -> list[tuple[Service, HealthCheck]]:
        """Return the checks of a group with the service that each looks at; raises what their adapters raise."""
        found = [(self.service(look.service), look.check) for look in self.group(group).looks]
        return [(service, self._check(service, check)) for service, check in found]

    def _check(self, service: Service, check: Check) -> HealthCheck:
        adapter = check_adapter(check.type)
        context = CheckContext(
            name=check.name,
            service=service.name,
            environment=service.environment,
            kind=service.type,
            service_options=service.options,
            target=self.target(service.name),
            base=self.configuration.base,
            state=self.state_folder,
            secret=self.reader(check.options, check.path),
            timeout=check.timeout,
        )
        built: HealthCheck = _built(adapter, check.options, context)
        return built

    def discovery(self, service: str) -> Discovery | None:
        """Return who lists the instances of a service; None where it has none. Raises what its adapter raises."""
        entry = self.service(service)
        if entry.discovery is None:
            return None
        if service not in self._discoveries:
            adapter = discovery_adapter(entry.discovery.type)
            context = DiscoveryContext(
                service=entry.name,
                environment=entry.environment,
                base=self.configuration.base,
                secret=self.reader(entry.discovery.options, entry.discovery.path),
                timeout=entry.discovery.timeout,
            )
            self._discoveries[service] = _built(adapter, entry.discovery.options, context)
        return self._discoveries[service]

    def distributor(self, service: str) -> Distributor | None:
        """Return what hands a version to an instance; None where nothing does. Raises what its adapter raises."""
        entry = self.service(service)
        if entry.distribution is None:
            return None
        if service not in self._distributors:
            adapter = distributor_adapter(entry.distribution.type)
            context = DistributorContext(
                service=entry.name,
                environment=entry.environment,
                store=self.store,
                credential_store=entry.credential.store,
                credential_path=entry.credential.key,
                base=self.configuration.base,
                state=self.state_folder,
                secret=self.reader(entry.distribution.options, entry.distribution.path),
                timeout=entry.distribution.timeout,
            )
            self._distributors[service] = _built(adapter, entry.distribution.options, context)
        return self._distributors[service]

    def places(self, service: str) -> list[PublishedPlace]:
        """Return the places a service is published to, in the order of the file."""
        entry = self.service(service)
        key = partial(installation_key, self.state_folder / FINGERPRINT_KEY)
        return [PublishedPlace(each, entry, self.store(each.keys.store), key) for each in entry.publish]

    def read_secrets(self, service: str, store: str) -> None:
        """Read every secret that a service's target, its instances and a store refer to, and forget them again.

        Raises `MissingSecret` where one is not there, and what else reading it raises.
        """
        stored, entry = self.configuration.stores[store], self.service(service)
        named: list[tuple[msgspec.Struct, KeyPath]] = [
            (stored.options, ("secretStores", store)),
            (entry.options, ("services", service)),
            *((each.options, each.path) for each in (entry.discovery, entry.distribution) if each is not None),
        ]
        for options, path in named:
            read = self.reader(options, path)
            for _, reference in references(options, path):
                read(reference)

    def plan_for(self, service: str, capabilities: TargetCapabilities) -> Plan:
        """Return the plan of a rotation; raises `StrategyImpossible` where the target cannot do it."""
        return plan_for(self.service(service), capabilities)

    def password_rule(self, service: str) -> PasswordRule:
        """Return how a new password of a service is made."""
        return self.service(service).rotation.password.rule

    def reader(self, options: msgspec.Struct, path: KeyPath) -> ReferenceReader:
        """Return what reads the references in options; `path` is where these stand, for its errors."""
        keys: dict[Reference, str] = {reference: dotted(where) for where, reference in references(options, path)}
        return ReferenceReader(self.configuration.base, self.store, keys)


def _built(adapter: AnyAdapter, options: msgspec.Struct, context: Any) -> Any:
    """Return what an adapter builds; raises `MissingDriver`."""
    try:
        return adapter.build(options, context)
    except ModuleNotFoundError as error:
        raise missing_driver(adapter, error) from error
