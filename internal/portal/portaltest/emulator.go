package portaltest

import (
	cryptorand "crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// Product is what kind of portal the emulator is.
type Product string

// The products. Enterprise113 is too old for API key credentials.
const (
	LocationPlatform Product = "location_platform"
	Online           Product = "online"
	Enterprise114    Product = "enterprise_11_4"
	Enterprise113    Product = "enterprise_11_3"
)

// Products lists every product.
func Products() []Product { return []Product{LocationPlatform, Online, Enterprise114, Enterprise113} }

func (p Product) enterprise() bool { return p == Enterprise114 || p == Enterprise113 }

// Options describe an emulator. The zero value is ArcGIS Online under /sharing/rest with the standard users.
type Options struct {
	Product Product
	// Root is the path of the REST root; /sharing/rest when empty.
	Root string
	// OrgName is shown by portals/self.
	OrgName string
	// NoUsers leaves out the standard users (see AdminUser and its neighbours).
	NoUsers bool
	// Switches are set at the start; New panics on an unknown name or value.
	Switches map[string]string
	// Control serves the control endpoints under /emulator/.
	Control bool
	// Latency is how long each request takes.
	Latency time.Duration
	// MaxInFlight refuses further requests with 429 while so many are under way; 0 is no limit.
	MaxInFlight int
	// RateLimit is the requests a second that switch rate_limit allows; 20 when 0.
	RateLimit int
	// Seed makes ids, secrets and keys repeatable; 0 draws them at random.
	Seed uint64
}

// Emulator is one organisation. All methods may be called from several goroutines.
type Emulator struct {
	opts       Options
	root       string
	privileges []string // what apps may carry, sorted
	routes     []route

	mu       sync.Mutex // guards everything below
	rng      *rand.Rand
	offset   time.Duration
	switches map[string]string
	version  uint64 // rises with every change that a listing could show

	orgID    string
	users    map[string]*account
	items    map[string]*item
	clients  map[string]string // client id to item id
	order    []string          // item ids in order of creation
	tokens   map[string]*token
	issued   int // tokens ever
	keys     map[string]*key
	history  []*key
	index    searchIndex
	cache    listCache
	added    []UsageRow
	limiter  limiter
	inFlight int
	billed   int // calls of location services that would cost

	events     []Event
	untold     []Event // made under mu, told to watchers after it
	watchers   []func(Event)
	counts     map[Op]int
	peak       int
	requests   int
	violations []Violation
	faults     []*armedFault
	faultSeq   int
	hook       func(Call) *Fault
	late       []lateEffect
	effects    int // effects answered, for ambiguous_failure
}

// New makes an emulator. It panics on options that make no sense, as a test should notice at once.
func New(opts Options) *Emulator {
	if opts.Product == "" {
		opts.Product = Online
	}
	if opts.Root == "" {
		opts.Root = "/sharing/rest"
	}
	if opts.OrgName == "" {
		opts.OrgName = "Emulated Organisation"
	}
	if opts.RateLimit <= 0 {
		opts.RateLimit = defaultRate
	}
	e := &Emulator{opts: opts, root: opts.Root, rng: newRand(opts.Seed), switches: map[string]string{},
		users: map[string]*account{}, items: map[string]*item{}, clients: map[string]string{},
		tokens: map[string]*token{}, keys: map[string]*key{}, counts: make(map[Op]int)}
	e.privileges = grantable(opts.Product, "")
	e.routes = e.routeTable()
	e.index.docs = map[string]*item{}
	for _, s := range switchTable() {
		e.switches[s.Name] = s.Default
	}
	for name, value := range opts.Switches {
		if err := e.SetSwitch(name, value); err != nil {
			panic(err)
		}
	}
	e.orgID = e.text(16)
	if !opts.NoUsers {
		for _, u := range standardUsers(opts.Product) {
			e.AddUser(u)
		}
	}
	return e
}

func newRand(seed uint64) *rand.Rand {
	var b [32]byte
	if seed == 0 {
		if _, err := cryptorand.Read(b[:]); err != nil {
			panic(err) // documented never to happen
		}
	} else {
		binary.LittleEndian.PutUint64(b[:], seed)
	}
	return rand.New(rand.NewChaCha8(b))
}

// now is the emulator's clock; the caller holds e.mu.
func (e *Emulator) now() time.Time { return time.Now().Add(e.offset).UTC() }

// Now is the emulator's clock.
func (e *Emulator) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now()
}

// MoveClock moves the emulator's clock against the machine's, forward or back.
func (e *Emulator) MoveClock(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset += d
	e.version++
}

// OrgID is the organisation's id, as portals/self shows it.
func (e *Emulator) OrgID() string { return e.orgID }

// Product is what the emulator was made as.
func (e *Emulator) Product() Product { return e.opts.Product }

// Root is the path of the REST root.
func (e *Emulator) Root() string { return e.root }

// hexID is a portal id: 32 lower-case hex digits.
func (e *Emulator) hexID() string { return hex.EncodeToString(e.bytes(16)) }

// text is n mixed-case letters and digits.
func (e *Emulator) text(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[e.rng.IntN(len(alphabet))]
	}
	return string(b)
}

func (e *Emulator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], e.rng.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

func (e *Emulator) tokenText() string { return base64.RawURLEncoding.EncodeToString(e.bytes(90)) + "." }

// keyText is a key in the form that clients recognise: its tail names the slot and the credential.
func (e *Emulator) keyText(slot int, clientID string) string {
	dot := "."
	if e.is(SwitchKeyForm, "plain") {
		dot = ""
	}
	return "AAPT" + base64.RawURLEncoding.EncodeToString(e.bytes(176)) + dot + "AT" + strconv.Itoa(slot) + "_" + clientID[8:]
}
