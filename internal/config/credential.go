package config

import (
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Defaults are inherited by every credential.
type Defaults struct {
	Portal      string   `yaml:"portal,omitempty" doc:"Portal of credentials that name none."`
	Owner       string   `yaml:"owner,omitempty" doc:"Owner of credentials that name none."`
	Environment string   `yaml:"environment,omitempty" doc:"Environment of credentials that name none."`
	Stage       string   `yaml:"stage,omitempty" doc:"Stage of credentials that name none."`
	Sinks       []string `yaml:"sinks,omitempty" doc:"Sinks of credentials that name none, the first being the commit point."`
	Mode        string   `yaml:"mode,omitempty" jsonschema:"enum=watch,enum=rotate" doc:"Mode of credentials that state none."`
	Adopt       string   `yaml:"adopt,omitempty" jsonschema:"enum=manual,enum=auto" doc:"Adoption of credentials that state none."`
	Policy      Policy   `yaml:"policy,omitempty" doc:"Policy, key by key, of credentials that leave a key out."`
	Windows     []Window `yaml:"windows,omitempty" doc:"Windows of credentials that state none."`
	Freezes     []Freeze `yaml:"freezes,omitempty" doc:"Freezes of credentials that state none."`
	FreezeFile  Path     `yaml:"freeze_file,omitempty" doc:"Freeze file of credentials that name none."`
	TimeZone    string   `yaml:"time_zone,omitempty" doc:"Time zone of credentials that name none."`
	Usage       string   `yaml:"usage,omitempty" jsonschema:"enum=auto,enum=never" doc:"Usage of credentials that state none."`
	Settings    string   `yaml:"settings,omitempty" jsonschema:"enum=report,enum=correct,enum=adopt" doc:"Settings of credentials that state none."`
	Budget      Budget   `yaml:"budget,omitempty" doc:"Budget, key by key, of credentials that leave a key out."`
	Quiet       *Quiet   `yaml:"quiet,omitempty" doc:"Proof of quiet of credentials that state none; see credentials[].quiet."`
	Hooks       []Hook   `yaml:"hooks,omitempty" doc:"Hooks of credentials that state none; see credentials[].hooks[]."`
}

// Credential is one portal item of API key credentials.
type Credential struct {
	Name        Name     `yaml:"name" jsonschema:"required" doc:"Unique label; it appears in metrics, alerts and commands."`
	PathName    Name     `yaml:"path_name,omitempty" doc:"What {{.Name}} stands for in the paths of sinks, where it is not the name. rotatord rename writes it, so that consumers find their key where it was."`
	Portal      string   `yaml:"portal,omitempty" doc:"Name of a portal above."`
	Item        ItemID   `yaml:"item,omitempty" doc:"The item's id: 32 hexadecimal digits, from the address of its page. rotatord apply writes it here for an item that it made."`
	Create      *Create  `yaml:"create,omitempty" doc:"What the item is to be like. Without item it is one to be made, by rotatord apply."`
	Settings    string   `yaml:"settings,omitempty" jsonschema:"enum=report,enum=correct,enum=adopt,default=report" doc:"What is done where the portal has it otherwise than create says: report says it; correct edits what is harmless back, and says the rest; adopt takes the portal's word as meant."`
	Owner       string   `yaml:"owner,omitempty" doc:"Team or person that answers for it."`
	Environment string   `yaml:"environment,omitempty" doc:"For example production."`
	Stage       string   `yaml:"stage,omitempty" doc:"One of fleet.stages. In none if left out: it waits for nobody, and nobody waits for it."`
	Consumers   []string `yaml:"consumers,omitempty" doc:"Who breaks when the key dies; shown in alerts."`
	Sinks       []string `yaml:"sinks,omitempty" doc:"Names of sinks above, in the order of writing. The first is the commit point and the source of the others."`
	Policy      Policy   `yaml:"policy,omitempty" doc:"When and how it rotates; missing keys come from defaults.policy."`
	Mode        string   `yaml:"mode,omitempty" jsonschema:"enum=watch,enum=rotate" doc:"watch observes and changes nothing; rotate rotates. Must be stated here or in defaults."`
	Hold        string   `yaml:"hold,omitempty" doc:"A reason: while it stands here, no rotation starts and no key is retired."`
	Adopt       string   `yaml:"adopt,omitempty" jsonschema:"enum=manual,enum=auto,default=manual" doc:"manual waits for rotatord adopt NAME; auto adopts where nothing is ambiguous."`
	Spare       string   `yaml:"spare,omitempty" jsonschema:"enum=expendable" doc:"expendable: the spare slot may be minted into whoever uses the key in it."`
	Referrer    string   `yaml:"referrer,omitempty" doc:"Referer header of probes, where the credential is limited to referrers. The first of its own if left out."`
	Probe       Probe    `yaml:"probe,omitempty" doc:"Addresses that must answer the same to the old and the new key."`
	Windows     []Window `yaml:"windows,omitempty" doc:"When a rotation may start and an old key be retired. Always if left out; [] means the same where defaults have windows."`
	Freezes     []Freeze `yaml:"freezes,omitempty" doc:"When it may not, whatever the windows say. They replace those of defaults."`
	FreezeFile  Path     `yaml:"freeze_file,omitempty" doc:"iCalendar file (.ics) whose events are freezes too. Read at the start and at each reload."`
	TimeZone    string   `yaml:"time_zone,omitempty" doc:"Zone of windows, dates of freezes and times without a zone in freeze_file, as in Europe/Berlin. schedules.time_zone if left out."`
	Usage       string   `yaml:"usage,omitempty" jsonschema:"enum=auto,enum=never,default=auto" doc:"auto reads what it uses, where its portal tells; never does not ask."`
	Budget      Budget   `yaml:"budget,omitempty" doc:"How many credits it may use, and what happens then; missing keys come from defaults.budget."`
	Quiet       *Quiet   `yaml:"quiet,omitempty" doc:"What must call the old key unused before it is retired; see docs/gates.md. {} means none where defaults have some."`
	Hooks       []Hook   `yaml:"hooks,omitempty" doc:"Programs and services that may veto a rotation at points of it; see docs/gates.md. [] means none where defaults have some."`

	targets []Target
	ownKey  string // name of the portal that the daemon signs in to with its key; "" is none
}

// Probe URLs prove that a new key can do what the old one could.
type Probe struct {
	URLs       []URL    `yaml:"urls,omitempty" doc:"Addresses to ask with the old and the new key. https, no redirects."`
	Grants     string   `yaml:"grants,omitempty" jsonschema:"enum=off,enum=free,enum=billed,default=off" doc:"Prove a new key at the services and private items that its privileges name, before it is published: one cheap call each, to Esri's own hosts and those of allow_hosts. free makes only calls that cost nothing; billed also those that cost one unit."`
	AllowHosts []string `yaml:"allow_hosts,omitempty" doc:"Hosts that keys may be sent to, with the port where the address has one. Each address above must be on one of them."`
}

// Policy in the file: nil is not set. In a parsed Config a credential's policy is
// complete, but for keys that have no default.
type Policy struct {
	RenewBefore     *Span     `yaml:"renew_before,omitempty" doc:"Rotate when the key's end is nearer: a duration, or a share of its lifetime such as 25%. At least overlap + 48h. No default."`
	MaxAge          *Duration `yaml:"max_age,omitempty" doc:"Rotate when the key is older. Age alone is no reason if left out."`
	Overlap         *Duration `yaml:"overlap,omitempty" doc:"How long both keys work after the last sink serves the new one. No default."`
	CriticalBefore  *Duration `yaml:"critical_before,omitempty" doc:"Nearer than this to its end, a key's rotation waits for nothing that only postpones it. No default."`
	Lifetime        *Duration `yaml:"lifetime,omitempty" doc:"How long a new key lives, at most 364d. No default."`
	Spread          *Duration `yaml:"spread,omitempty" zero:"ok" jsonschema:"default=0s" doc:"End dates are spread over so much, by a stable hash of the name, so that not all keys end on one day."`
	MinInterval     *Duration `yaml:"min_interval,omitempty" zero:"ok" jsonschema:"default=24h" doc:"Least time between a promotion and the next scheduled rotation."`
	MinGain         *Duration `yaml:"min_gain,omitempty" zero:"ok" jsonschema:"default=48h" doc:"A scheduled rotation must move the key's end by more than this."`
	ProbeEvery      *Duration `yaml:"probe_every,omitempty" jsonschema:"default=15m" doc:"How often the served key is probed during the overlap."`
	DeepEvery       *Duration `yaml:"deep_every,omitempty" jsonschema:"default=24h" doc:"How often item, app and served key of an idle credential are looked at."`
	OrphanDelay     *Duration `yaml:"orphan_delay,omitempty" doc:"Retire a key of ours that no sink serves after so long, not shorter than overlap. Only reported if left out."`
	EffectHorizon   *Duration `yaml:"effect_horizon,omitempty" jsonschema:"default=10m" doc:"How long a request of unknown outcome may still take effect at the portal."`
	RetryBase       *Duration `yaml:"retry_base,omitempty" jsonschema:"default=30s" doc:"First wait after a failure; it doubles with each one."`
	RetryMax        *Duration `yaml:"retry_max,omitempty" jsonschema:"default=1h" doc:"Longest such wait."`
	MaxAttempts     *int      `yaml:"max_attempts,omitempty" jsonschema:"default=8,minimum=0" doc:"Failures in a row until the credential is quarantined; 0 is never."`
	DeadProbes      *int      `yaml:"dead_probes,omitempty" jsonschema:"default=3,minimum=2" doc:"Refused probes that make a key dead ..."`
	DeadAfter       *Duration `yaml:"dead_after,omitempty" jsonschema:"default=10m" doc:"... when the first and the last are so far apart."`
	ExpiryPrecision *string   `yaml:"expiry_precision,omitempty" jsonschema:"enum=day,enum=second,default=day" doc:"day: the portal rounds to the end of a UTC day. second is for the emulator."`
}

// Target is one sink of one credential with its path rendered.
type Target struct {
	Sink  string
	Vault *VaultSink // one of Vault and File is set; its Path is the template
	File  *FileSink
	Path  string // rendered
}

// Targets of the credential, the commit point first.
func (cr *Credential) Targets() []Target { return slices.Clone(cr.targets) }

// RotatePolicy is the credential's policy as the domain takes it.
func (c *Config) RotatePolicy(cr *Credential) rotate.Policy {
	p := cr.Policy
	rp := rotate.Policy{
		MaxAge: dur(p.MaxAge), Overlap: dur(p.Overlap), CriticalBefore: dur(p.CriticalBefore), Lifetime: dur(p.Lifetime), Spread: dur(p.Spread),
		MinInterval: dur(p.MinInterval), MinGain: dur(p.MinGain), ProbeEvery: dur(p.ProbeEvery), DeepEvery: dur(p.DeepEvery),
		OrphanDelay: dur(p.OrphanDelay), EffectHorizon: dur(p.EffectHorizon), RetryBase: dur(p.RetryBase), RetryMax: dur(p.RetryMax),
		MaxAttempts: value(p.MaxAttempts), DeadProbes: value(p.DeadProbes), DeadAfter: dur(p.DeadAfter),
		Precision: rotate.Precision(value(p.ExpiryPrecision)), SpareExpendable: cr.Spare == "expendable", AutoAdopt: cr.Adopt == "auto",
	}
	if p.RenewBefore != nil {
		rp.RenewBefore, rp.RenewBeforeShare = p.RenewBefore.Time, p.RenewBefore.Share
	}
	if portal := c.Portals[cr.Portal]; portal != nil {
		rp.DeathsPerHour = portal.DeathsPerHour
	}
	return rp
}

func dur(d *Duration) time.Duration { return value(d).Std() }

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// inherit gives each credential what it leaves to defaults.
func (c *Config) inherit() {
	d := c.Defaults
	c.markOwnKeys()
	for _, cr := range c.Credentials {
		for _, s := range []struct{ to, from *string }{{&cr.Portal, &d.Portal}, {&cr.Owner, &d.Owner},
			{&cr.Environment, &d.Environment}, {&cr.Stage, &d.Stage}, {&cr.Mode, &d.Mode}, {&cr.Adopt, &d.Adopt}, {&cr.Settings, &d.Settings}} {
			if *s.to == "" {
				*s.to = *s.from
			}
		}
		// The daemon's own key goes nowhere else unless its credential says so.
		if cr.Sinks == nil && cr.ownKey == "" {
			cr.Sinks = slices.Clone(d.Sinks)
		}
		cr.inheritCalendar(d)
		cr.inheritQuiet(d)
		cr.inheritBudget(d)
		own, from := reflect.ValueOf(&cr.Policy).Elem(), reflect.ValueOf(d.Policy)
		for i := range own.NumField() {
			if own.Field(i).IsNil() {
				own.Field(i).Set(from.Field(i))
			}
		}
	}
}

// fillStores sets defaults that depend on other keys.
func (c *Config) fillStores() {
	for _, cr := range c.Credentials {
		if cr.TimeZone == "" && cr.hasCalendar() {
			cr.TimeZone = c.Schedules.TimeZone
		}
	}
	for name, p := range c.Portals {
		if p.IdentityStore.Vault == nil && p.IdentityStore.File == "" && c.State.Dir != "" {
			p.IdentityStore.File = Path(filepath.Join(string(c.State.Dir), "identities", name+".json"))
		}
		if p.Referer == "" {
			p.Referer = string(p.URL)
		}
	}
	if a := c.appRole(); a != nil && a.Rotate != nil {
		if st := &a.Rotate.IdentityStore; st.Vault == nil && st.File == "" && c.State.Dir != "" {
			st.File = Path(filepath.Join(string(c.State.Dir), "vault-secret-id.json"))
		}
	}
	if c.Alerts.WarnBefore == nil {
		const day = Duration(24 * time.Hour)
		c.Alerts.WarnBefore = []Duration{30 * day, 14 * day, 7 * day, 3 * day, day}
	}
}
