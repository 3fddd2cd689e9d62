package config

// Portal is one ArcGIS portal and how to sign in to it.
type Portal struct {
	URL           URL           `yaml:"url" jsonschema:"required" doc:"The portal's address without /sharing/rest: https://www.arcgis.com, or https://HOST/portal for an Enterprise."`
	Product       string        `yaml:"product" jsonschema:"required,enum=location-platform,enum=online,enum=enterprise" doc:"Which product it is; it decides about privileges and which calls exist."`
	Referer       string        `yaml:"referer,omitempty" doc:"Referer header of the daemon's own calls. The portal's address if left out."`
	Identity      Identity      `yaml:"identity" jsonschema:"required" doc:"Who the daemon is at this portal: a name and a password, an API key of somebody else or its own, or an OAuth refresh token."`
	IdentityStore IdentityStore `yaml:"identity_store,omitempty" doc:"Where identities that are renewed live. A 0600 file in the state directory if left out."`
	TLS           TLS           `yaml:"tls,omitempty" doc:"How the portal's certificate is checked."`
	Proxy         ProxyURL      `yaml:"proxy,omitempty" doc:"Forward proxy. The environment's proxy variables are not used."`
	Timeout       Duration      `yaml:"timeout,omitempty" jsonschema:"default=30s" doc:"Longest time for one request."`
	Limits        Limits        `yaml:"limits,omitempty" doc:"What the portal may be asked."`
	Breaker       Breaker       `yaml:"breaker,omitempty" doc:"When to leave a failing portal alone."`
	Usage         string        `yaml:"usage,omitempty" jsonschema:"enum=auto,enum=never,default=auto" doc:"auto reads what its credentials use, where the product tells it (Online); never does not ask."`
	DeathsPerHour int           `yaml:"deaths_per_hour,omitempty" jsonschema:"default=3,minimum=1" doc:"More keys found dead within an hour stop this portal's emergency rotations: then the portal is the problem."`
}

// Identity is one of: username with password, api_key, own_key, oauth.
type Identity struct {
	Username string    `yaml:"username,omitempty" doc:"Built-in account, case sensitive. Goes with password."`
	Password SecretRef `yaml:"password,omitempty" doc:"Reference to the account's password."`
	APIKey   SecretRef `yaml:"api_key,omitempty" doc:"Reference to an API key that somebody else keeps, with portal:admin:viewItems and portal:admin:updateItems and access to the credentials' items."`
	OwnKey   Name      `yaml:"own_key,omitempty" doc:"Name of the credential below whose key the daemon itself signs in with. The key lives in identity_store and is rotated with the others, last; the first one is put in by rotatord login PORTAL."`
	OAuth    *OAuth    `yaml:"oauth,omitempty" doc:"A refresh token, made once by rotatord login PORTAL and kept in identity_store."`
}

// OAuth names the application that the refresh token belongs to.
type OAuth struct {
	ClientID    string `yaml:"client_id" jsonschema:"required" doc:"Client id of an OAuth credential of that portal."`
	RenewBefore *Span  `yaml:"renew_before,omitempty" jsonschema:"default=50%" doc:"When the refresh token is renewed: a time before its end, or a share of its life. Half its life where it lives no longer than that."`
}

// IdentityStore is one of: vault, file.
type IdentityStore struct {
	Vault *VaultPath `yaml:"vault,omitempty" doc:"Keep it in a Vault secret."`
	File  Path       `yaml:"file,omitempty" doc:"Keep it in a 0600 file. If left out, a portal's is STATE/identities/PORTAL.json and that of Vault's secret id STATE/vault-secret-id.json."`
}

// VaultPath names one secret of a KV v2 mount.
type VaultPath struct {
	Mount string `yaml:"mount" jsonschema:"required" doc:"KV v2 mount."`
	Path  string `yaml:"path" jsonschema:"required" doc:"Path of the secret under the mount, without data/."`
}

// TLS says how a server's certificate is checked.
type TLS struct {
	CAFile     Path   `yaml:"ca_file,omitempty" doc:"PEM file of the authorities to trust instead of the system's."`
	ServerName string `yaml:"server_name,omitempty" doc:"Name that the certificate must carry, if it is not the address's host."`
}

// Limits of requests to one portal.
type Limits struct {
	AtOnce    int     `yaml:"at_once,omitempty" jsonschema:"default=8,minimum=1" doc:"Requests at the same time."`
	PerSecond float64 `yaml:"per_second,omitempty" jsonschema:"default=10,minimum=0.1" doc:"Requests started each second."`
}

// Breaker stops asking a portal that fails again and again.
type Breaker struct {
	Failures int      `yaml:"failures,omitempty" jsonschema:"default=5,minimum=1" doc:"Failures in a row that open it."`
	OpenFor  Duration `yaml:"open_for,omitempty" jsonschema:"default=1m" doc:"How long it stays open before one request tries again."`
}

// Vault is the server that vault sinks write to.
type Vault struct {
	Address   URL       `yaml:"address" jsonschema:"required" doc:"Address of the Vault server."`
	Namespace string    `yaml:"namespace,omitempty" doc:"Vault Enterprise namespace. A server that ignores it is an error."`
	TLS       TLS       `yaml:"tls,omitempty" doc:"How Vault's certificate is checked."`
	Proxy     ProxyURL  `yaml:"proxy,omitempty" doc:"Forward proxy. The environment's proxy variables are not used."`
	Timeout   Duration  `yaml:"timeout,omitempty" jsonschema:"default=15s" doc:"Longest time for one request."`
	Auth      VaultAuth `yaml:"auth" jsonschema:"required" doc:"How to sign in: one of token_file, approle, kubernetes, cert."`
}

// VaultAuth is one of its fields.
type VaultAuth struct {
	TokenFile  Path            `yaml:"token_file,omitempty" doc:"File that holds a token, as Vault Agent writes it. Read again at each sign-in."`
	AppRole    *AppRole        `yaml:"approle,omitempty" doc:"Sign in by AppRole."`
	Kubernetes *KubernetesAuth `yaml:"kubernetes,omitempty" doc:"Sign in by a Kubernetes service account."`
	Cert       *CertAuth       `yaml:"cert,omitempty" doc:"Sign in by a TLS client certificate."`
}

// AppRole sign-in. It has secret_id or rotate.
type AppRole struct {
	RoleID   string            `yaml:"role_id" jsonschema:"required" doc:"The role's id."`
	SecretID SecretRef         `yaml:"secret_id,omitempty" doc:"Reference to the file with the secret id, or with the token that wraps it: file: or credential:. Read again at each sign-in."`
	Wrapped  bool              `yaml:"wrapped,omitempty" doc:"secret_id is a response-wrapping token, good for one use. What it yields is kept in memory: a restart needs a new one."`
	Rotate   *SecretIDRotation `yaml:"rotate,omitempty" doc:"Instead of secret_id: the secret id is rotatord's own and renewed by it; the first one is put in by rotatord login --vault."`
	Role     string            `yaml:"role,omitempty" doc:"The role's name. rotate needs it; with it, a wrapping token that another role's secret id is in is refused."`
	Mount    string            `yaml:"mount,omitempty" jsonschema:"default=approle" doc:"Where the auth method is mounted."`
}

// SecretIDRotation is how rotatord renews its own secret id.
type SecretIDRotation struct {
	IdentityStore IdentityStore `yaml:"identity_store,omitempty" doc:"Where the secret id lives: in a file, not in the Vault that it opens."`
	RenewBefore   *Span         `yaml:"renew_before,omitempty" jsonschema:"default=50%" doc:"When it is renewed: a time before its end, or a share of its life. Half its life where it lives no longer than that."`
	MaxAge        *Duration     `yaml:"max_age,omitempty" doc:"Also renew it when it is older, for secret ids that never end."`
}

// KubernetesAuth sign-in.
type KubernetesAuth struct {
	Role    string `yaml:"role" jsonschema:"required" doc:"Vault role."`
	JWTFile Path   `yaml:"jwt_file,omitempty" jsonschema:"default=/var/run/secrets/kubernetes.io/serviceaccount/token" doc:"Service account token. Read again at each sign-in."`
	Mount   string `yaml:"mount,omitempty" jsonschema:"default=kubernetes" doc:"Where the auth method is mounted."`
}

// CertAuth sign-in.
type CertAuth struct {
	CertFile Path   `yaml:"cert_file" jsonschema:"required" doc:"PEM file of the client certificate."`
	KeyFile  Path   `yaml:"key_file" jsonschema:"required" doc:"PEM file of its key, readable by rotatord alone."`
	Role     string `yaml:"role,omitempty" doc:"Certificate role. Vault picks the one that fits if left out."`
	Mount    string `yaml:"mount,omitempty" jsonschema:"default=cert" doc:"Where the auth method is mounted."`
}

// SinkSpec is one of its fields.
type SinkSpec struct {
	Vault *VaultSink `yaml:"vault,omitempty" doc:"A secret of a Vault KV v2 mount."`
	File  *FileSink  `yaml:"file,omitempty" doc:"A file on this machine."`
}

// VaultSink writes keys to a KV v2 mount.
type VaultSink struct {
	Mount     string `yaml:"mount" jsonschema:"required" doc:"KV v2 mount."`
	Path      string `yaml:"path" jsonschema:"required" doc:"Path of a credential's secret under the mount, without data/. A template: {{.Name}}, {{.Portal}}, {{.Environment}}, {{.Owner}}, {{.Item}}."`
	KeyField  string `yaml:"key_field,omitempty" jsonschema:"default=api_key" doc:"Field that holds the key, as a string."`
	MetaField string `yaml:"meta_field,omitempty" jsonschema:"default=rotatord" doc:"Field that holds rotatord's own facts about the key. Other fields are kept as they are."`
}

// FileSink writes keys to files.
type FileSink struct {
	Path           string      `yaml:"path" jsonschema:"required" doc:"Absolute path of a credential's file; a template as for vault. rotatord keeps PATH.meta.json beside it."`
	Format         string      `yaml:"format,omitempty" jsonschema:"enum=bare,enum=dotenv,enum=json,default=bare" doc:"What the file looks like: the key alone, NAME=value, or a JSON object."`
	Variable       string      `yaml:"variable,omitempty" jsonschema:"default=ARCGIS_API_KEY" doc:"Variable of a dotenv file."`
	Field          string      `yaml:"field,omitempty" jsonschema:"default=api_key" doc:"Field of a json file."`
	Owner          string      `yaml:"owner,omitempty" doc:"User that owns the file. rotatord's own if left out."`
	Group          string      `yaml:"group,omitempty" doc:"Group of the file."`
	Mode           FileMode    `yaml:"mode,omitempty" jsonschema:"default=0600" doc:"Permissions, in octal. Nothing above 0640 without allow_wider_mode."`
	AllowWiderMode bool        `yaml:"allow_wider_mode,omitempty" doc:"Accept a mode above 0640."`
	KeepPrevious   int         `yaml:"keep_previous" jsonschema:"default=1,minimum=0,maximum=10" doc:"How many earlier keys are kept beside the file, for the way back during the overlap."`
	AfterWrite     *AfterWrite `yaml:"after_write,omitempty" doc:"What makes the consumer take the new key. No key is in its environment or arguments."`
}

// AfterWrite is a command or a unit to reload.
type AfterWrite struct {
	Command    []string `yaml:"command,omitempty" doc:"Program by absolute path, and its arguments. No shell."`
	ReloadUnit string   `yaml:"reload_unit,omitempty" doc:"systemd unit to reload or restart."`
	Timeout    Duration `yaml:"timeout,omitempty" jsonschema:"default=30s" doc:"Longest time for one try."`
	Attempts   int      `yaml:"attempts,omitempty" jsonschema:"default=3,minimum=1,maximum=100" doc:"How often it is tried in all."`
}

// Schedules are the daemon's alarm clock.
type Schedules struct {
	TimeZone string `yaml:"time_zone,omitempty" jsonschema:"default=UTC" doc:"Zone of the cron lines below, as in Europe/Berlin."`
	Tick     string `yaml:"tick,omitempty" jsonschema:"default=* * * * *" doc:"When to look for due work (cron line)."`
	Survey   string `yaml:"survey,omitempty" jsonschema:"default=*/5 * * * *" doc:"When to list what the portals hold (cron line)."`
	Usage    string `yaml:"usage,omitempty" jsonschema:"default=17 * * * *" doc:"When to read what the credentials use (cron line)."`
	Settings string `yaml:"settings,omitempty" jsonschema:"default=37 * * * *" doc:"When to compare what create says with what the portals have (cron line)."`
}

// HTTP is the listener for machines and browsers.
type HTTP struct {
	Listen        string `yaml:"listen,omitempty" jsonschema:"default=127.0.0.1:9805" doc:"Address of /metrics, /healthz, /readyz and the status page; systemd takes the socket of a socket unit, and wants web_config_file or allow_open."`
	WebConfigFile Path   `yaml:"web_config_file,omitempty" doc:"Prometheus exporter-toolkit file with TLS and basic auth."`
	StatusPage    bool   `yaml:"status_page" jsonschema:"default=true" doc:"The status page at /, and status.json. Off: a page of links."`
	AllowOpen     bool   `yaml:"allow_open,omitempty" doc:"Listen beyond this machine without web_config_file, for a network that you trust."`
	Off           bool   `yaml:"off,omitempty" doc:"No listener at all."`
	// CredentialSeries is metrics.Series.
	CredentialSeries string `yaml:"credential_series,omitempty" jsonschema:"enum=auto,enum=always,enum=never,default=auto" doc:"Whether each credential has its own metrics: auto is up to 20,000 credentials. What is counted by portal is always there."`
}

// Alerts to people.
type Alerts struct {
	Slack          *Slack        `yaml:"slack,omitempty" doc:"Slack."`
	Webhook        *Webhook      `yaml:"webhook,omitempty" doc:"A service of yours that is sent signed CloudEvents; see docs/notifiers.md."`
	Alertmanager   *Alertmanager `yaml:"alertmanager,omitempty" doc:"Prometheus' Alertmanager."`
	Email          *Email        `yaml:"email,omitempty" doc:"Mail."`
	WarnBefore     []Duration    `yaml:"warn_before,omitempty" doc:"How long before its expiry a key with no rotation on its way is reported, each step once. 30d, 14d, 7d, 3d and 1d if left out."`
	Wait           Waits         `yaml:"wait,omitempty" doc:"How long something must hold before it is told, so that nobody hears of what heals itself."`
	RepeatEvery    Duration      `yaml:"repeat_every,omitempty" jsonschema:"default=24h" doc:"How often something unresolved is told again, until somebody acknowledges it."`
	RepeatCritical Duration      `yaml:"repeat_critical_every,omitempty" jsonschema:"default=4h" doc:"The same of what is critical."`
	QuietHours     []QuietHours  `yaml:"quiet_hours,omitempty" doc:"Hours in which only what is critical is told. The rest arrives as one message when they end."`
	Flap           Flap          `yaml:"flap,omitempty" doc:"Alerts that come and go."`
	Digest         string        `yaml:"digest,omitempty" doc:"When to tell what was, what comes and what needs a person (cron line), as in 0 8 * * mon. No digest if left out."`
	TimeZone       string        `yaml:"time_zone,omitempty" doc:"Zone of quiet hours and digest. That of schedules if left out."`
	Owner          string        `yaml:"owner,omitempty" doc:"Whose the alerts on portals, sinks and the daemon are."`
	To             []string      `yaml:"to,omitempty" doc:"Notifiers that tell every condition without a route. The first that is configured, of slack, alertmanager, email and webhook, if left out: one fault is one page."`
	Routes         []Route       `yaml:"routes,omitempty" doc:"Who tells a condition, where that is somebody else."`
	RunbookURL     URL           `yaml:"runbook_url,omitempty" doc:"Link to your runbook, in every alert."`
	DashboardURL   URL           `yaml:"dashboard_url,omitempty" doc:"Link to your dashboard, in every alert."`
	StatusURL      URL           `yaml:"status_url,omitempty" doc:"Address of rotatord's status page as people reach it; alerts link to a credential's page there."`
}

// Heartbeat is a dead man's switch.
type Heartbeat struct {
	URL     SecretRef `yaml:"url" jsonschema:"required" doc:"Reference to the address to call, which often holds a token."`
	Timeout Duration  `yaml:"timeout,omitempty" jsonschema:"default=10s" doc:"Longest time for one call."`
}

// State on disk.
type State struct {
	Dir Path `yaml:"dir,omitempty" jsonschema:"default=/var/lib/rotatord" doc:"Folder of the journal, the instance id and renewed identities; 0700."`
}

// Admin socket.
type Admin struct {
	Socket Path     `yaml:"socket,omitempty" jsonschema:"default=/run/rotatord/admin.sock" doc:"Unix socket, 0660."`
	Group  string   `yaml:"group,omitempty" jsonschema:"default=rotatord-ops" doc:"Group that may use the reading commands."`
	Users  []string `yaml:"users,omitempty" doc:"Users who may also use the changing commands, beside root."`
}

// Log settings.
type Log struct {
	Level  string `yaml:"level,omitempty" jsonschema:"enum=debug,enum=info,enum=warn,enum=error,default=info" doc:"Least level that is logged."`
	Format string `yaml:"format,omitempty" jsonschema:"enum=auto,enum=json,enum=text,default=auto" doc:"auto is colour on a terminal and JSON elsewhere."`
}
