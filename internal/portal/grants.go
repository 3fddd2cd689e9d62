package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"rotatord/internal/rotate"
)

// GrantState is what a proof of one privilege came to.
type GrantState string

// The states.
const (
	GrantWorks       GrantState = "works"
	GrantRefused     GrantState = "refused"
	GrantUncheckable GrantState = "not_checkable" // no call proves it, or none that is free
	GrantUnclear     GrantState = "unclear"       // asked, and no clear answer: ask again
)

// GrantStates lists every state.
func GrantStates() []GrantState {
	return []GrantState{GrantWorks, GrantRefused, GrantUncheckable, GrantUnclear}
}

// Grant is what came of one privilege.
type Grant struct {
	Privilege string
	State     GrantState
	Sentence  string
	HTTP      int // status of the answer that decided; 0 without one
	Code      int // error code in its body; 0 without one
}

// GrantsOptions of a Grants.
type GrantsOptions struct {
	Portal  *Client // reads the granted items, within its limits
	Product Product
	// AllowBilled lets calls be made that cost, or may cost, a little.
	AllowBilled bool
	// Services says how the services are reached. Its AllowHosts may be sent the key beside
	// the hosts of the table and, on Esri's own products, those of hosted layers; its URLs
	// are not used.
	Services ParityOptions
}

// Grants proves what a key may do: one cheap call for each privilege that has one.
type Grants struct {
	opts GrantsOptions
	http *Parity
}

// cost of a probe, by what the services are known to charge for.
type cost uint8

const (
	costFree    cost = iota
	costBilled       // one unit of the service
	costUnknown      // not called unless billed ones are allowed
)

// probe is one call that proves a privilege. The addresses are contract 7's. What is known
// of their costs: services charge for results, so that a call without the arguments it
// needs, a description and a style document are free (inferred).
type probe struct {
	address string
	cost    cost
	// noArguments: the call lacks its arguments, so that a complaint of that shows that the
	// key was let in.
	noArguments bool
}

const geocoder = "https://geocode-api.arcgis.com/arcgis/rest/services/World/GeocodeServer/findAddressCandidates?f=json"

// probeOf a privilege; none for most. Enterprise has no location services.
func probeOf(product Product, privilege string) (probe, bool) {
	if product == Enterprise {
		return probe{}, false
	}
	switch privilege {
	case "premium:user:basemaps":
		return probe{address: "https://basemapstyles-api.arcgis.com/arcgis/rest/services/styles/v2/styles/arcgis/navigation"}, true
	case "premium:user:staticbasemaptiles":
		return probe{address: "https://static-map-tiles-api.arcgis.com/arcgis/rest/services/static-basemap-tiles-service/v1/arcgis/navigation/static/tile/1/1/1",
			cost: costBilled}, true
	case "premium:user:geocode":
		return probe{address: geocoder, noArguments: true}, true
	case "premium:user:geocode:stored":
		return probe{address: geocoder + "&forStorage=true", noArguments: true}, true
	case "premium:user:geocode:temporary":
		return probe{address: geocoder + "&forStorage=false", noArguments: true}, true
	case "premium:user:places":
		return probe{address: "https://places-api.arcgis.com/arcgis/rest/services/places-service/v1/places/near-point?f=json", noArguments: true}, true
	case "premium:user:elevation":
		return probe{address: "https://elevation-api.arcgis.com/arcgis/rest/services/elevation-service/v1?f=json"}, true
	case "premium:user:geoenrichment":
		return probe{address: "https://geoenrich.arcgis.com/arcgis/rest/services/World/geoenrichmentserver/Geoenrichment/Enrich?f=json", noArguments: true,
			cost: costUnknown}, true
	case "premium:user:networkanalysis", "premium:user:networkanalysis:routing":
		return probe{address: "https://route-api.arcgis.com/arcgis/rest/services/World?f=json"}, true
	}
	return probe{}, false
}

// probed lists the privileges that have a probe on Esri's own products.
func probed() []string {
	return []string{"premium:user:basemaps", "premium:user:staticbasemaptiles", "premium:user:geocode", "premium:user:geocode:stored",
		"premium:user:geocode:temporary", "premium:user:places", "premium:user:elevation", "premium:user:geoenrichment",
		"premium:user:networkanalysis", "premium:user:networkanalysis:routing"}
}

// NewGrants sends nothing.
func NewGrants(o GrantsOptions) (*Grants, error) {
	if o.Portal == nil {
		return nil, errors.New("make proof of grants: no portal")
	}
	services := o.Services
	services.URLs, services.AllowHosts = nil, slices.Clone(o.Services.AllowHosts)
	for _, privilege := range probed() {
		p, _ := probeOf(Online, privilege)
		u, err := url.Parse(p.address)
		if err != nil {
			return nil, fmt.Errorf("make proof of grants: %w", err)
		}
		services.URLs, services.AllowHosts = append(services.URLs, p.address), append(services.AllowHosts, u.Host)
	}
	http, err := NewParity(services)
	if err != nil {
		return nil, fmt.Errorf("make proof of grants: %w", err)
	}
	http.op = opGrant
	return &Grants{opts: o, http: http}, nil
}

// Close drops idle connections.
func (g *Grants) Close() { g.http.Close() }

// Counts is the number of HTTP requests to services so far; those to the portal are its
// Client's.
func (g *Grants) Counts() map[Counted]int { return g.http.Counts() }

// Ask proves the privileges one after the other, in their order, with a request or two
// each. A call shows that the service lets the key in, which is as much as one that costs
// nothing can show. A key that is new may not have reached every service yet: what is refused may work
// a minute later.
func (g *Grants) Ask(ctx context.Context, key rotate.Secret, referrer string, privileges []string) []Grant {
	list := make([]Grant, 0, len(privileges))
	for _, privilege := range privileges {
		var got Grant
		item, isItem := GrantedItem(privilege)
		p, has := probeOf(g.opts.Product, privilege)
		switch {
		case isItem:
			got = g.item(ctx, key, referrer, item)
		case !has:
			got = Grant{State: GrantUncheckable, Sentence: "No cheap call needs this privilege."}
		case p.cost != costFree && !g.opts.AllowBilled:
			got = Grant{State: GrantUncheckable, Sentence: "The call that needs this privilege costs, or may cost, and is not allowed to."}
		default:
			got = g.service(ctx, key, referrer, p)
		}
		got.Privilege = privilege
		list = append(list, got)
	}
	return list
}

// class is what an answer says of the key.
type class uint8

const (
	classGood      class = iota
	classNoToken         // the key is not accepted
	classForbidden       // the key is, and may not
	classArguments       // the call itself is at fault
	classOther
)

// class judges status and error body alike: several services answer HTTP 200 with an error.
func (s seen) class() class {
	code := s.status
	if s.code != 0 {
		code = s.code
	}
	switch {
	case s.good():
		return classGood
	case s.tokenRefused():
		return classNoToken
	case s.status == http.StatusForbidden || code == http.StatusForbidden:
		return classForbidden
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return classArguments
	}
	return classOther
}

func unclearGrant(at string, err error) Grant {
	return Grant{State: GrantUnclear, Sentence: at + " gave no clear answer: " + err.Error() + "."}
}

// service asks one address with the key, and where that goes well, as nobody: an address
// that answers to anybody, or complains before it looks at the key, proves nothing.
func (g *Grants) service(ctx context.Context, key rotate.Secret, referrer string, p probe) Grant {
	u, err := url.Parse(p.address)
	if err != nil {
		return Grant{State: GrantUnclear, Sentence: "The address cannot be used."}
	}
	what := "prove a grant at " + u.Host
	got, _, err := g.http.ask(ctx, what, u, key, referrer)
	if err != nil {
		return unclearGrant(u.Host, err)
	}
	result := refusedGrant(u.Host, got)
	let := got.class() == classGood || got.class() == classArguments && p.noArguments
	if !let {
		return result
	}
	nobody, _, err := g.http.ask(ctx, what, u, rotate.Secret{}, referrer)
	if err != nil {
		return unclearGrant(u.Host, err)
	}
	if c := nobody.class(); c != classNoToken && c != classForbidden {
		result.State, result.Sentence = GrantUncheckable, u.Host+" answers so to anybody, with a key or without."
		return result
	}
	result.State, result.Sentence = GrantWorks, u.Host+" lets the key in."
	return result
}

// refusedGrant says what an answer that let nobody in means.
func refusedGrant(at string, got seen) Grant {
	r := Grant{HTTP: got.status, Code: max(got.code, 0), State: GrantRefused}
	switch got.class() {
	case classNoToken:
		r.Sentence = fmt.Sprintf("%s does not accept the key (%s): it is dead, not there yet, bound to another referrer, or lacks the privilege.", at, got)
	case classForbidden:
		r.Sentence = fmt.Sprintf("%s accepts the key and refuses the call (%s): the key lacks the privilege.", at, got)
	default:
		r.State, r.Sentence = GrantUnclear, fmt.Sprintf("%s gives %s, which says nothing of the key.", at, got)
	}
	return r
}

// item reads a granted item with the key, and its service where it has one.
func (g *Grants) item(ctx context.Context, key rotate.Secret, referrer string, id rotate.ItemID) Grant {
	var w wireDetails
	what := "prove the grant of item " + string(id)
	r, err := g.opts.Portal.do(ctx, call{op: opGrant, what: what, path: "/content/items/" + url.PathEscape(string(id)), token: key,
		referer: referrer, purpose: rotate.PurposeParity}, &w)
	code := 0
	if r.fault != nil {
		code = r.fault.Code
	}
	switch {
	case rotate.CauseOf(err) == rotate.CauseNotFound:
		return Grant{State: GrantRefused, HTTP: http.StatusOK, Code: code, Sentence: "The portal does not show the item to the key: it is gone, or not granted."}
	case rotate.KindOf(err) == rotate.KindAuth:
		return Grant{State: GrantRefused, HTTP: http.StatusOK, Code: code, Sentence: "The portal does not accept the key: it is dead, not there yet, or bound to another referrer."}
	case rotate.CauseOf(err) == rotate.CauseForbidden:
		return Grant{State: GrantRefused, HTTP: http.StatusOK, Code: code, Sentence: "The portal refuses to show the item to the key."}
	case err != nil:
		return unclearGrant("The portal", err)
	case w.Type == "":
		return unclearGrant("The portal", incomplete(what, "type"))
	case w.Access == "public":
		return Grant{State: GrantUncheckable, HTTP: http.StatusOK, Sentence: "The item is public: it shows to anybody, with a key or without."}
	}
	return g.layer(ctx, key, referrer, w)
}

// hostedLayers are Esri's own hosts of an organisation's layers.
var hostedLayers = regexp.MustCompile(`^(services|features|tiles)\d*\.arcgis\.com$`)

// layer asks the service that the item stands for, if the key may be sent there: an item's
// address is whatever its owner wrote.
func (g *Grants) layer(ctx context.Context, key rotate.Secret, referrer string, w wireDetails) Grant {
	shown := Grant{State: GrantWorks, HTTP: http.StatusOK, Sentence: "The portal shows the item to the key."}
	if !strings.HasSuffix(string(w.Type), "Service") || w.URL == "" {
		return shown
	}
	u, err := url.Parse(string(w.URL))
	if err != nil || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) || !g.mayAsk(u) {
		shown.Sentence += " Its service was not asked: the host is not among those that may be sent keys."
		return shown
	}
	u.RawQuery, u.Fragment = "f=json", ""
	got, body, err := g.http.ask(ctx, "prove a grant at "+u.Host, u, key, referrer)
	if err != nil {
		return unclearGrant(u.Host, err)
	}
	if got.class() != classGood {
		return refusedGrant(u.Host, got)
	}
	if !json.Valid(body) {
		return Grant{State: GrantUnclear, HTTP: got.status, Sentence: u.Host + " answers with something that is no service's description."}
	}
	return Grant{State: GrantWorks, HTTP: got.status, Sentence: "The portal shows the item to the key, and " + u.Host + " serves it."}
}

func (g *Grants) mayAsk(u *url.URL) bool {
	return u.Host == g.opts.Portal.root.Host || slices.Contains(g.opts.Services.AllowHosts, u.Host) ||
		g.opts.Product != Enterprise && hostedLayers.MatchString(u.Host)
}

// Prove tells whether a new key can do what its app was granted; nil where nothing shows
// that it cannot. It implements rotate.Grants.
func (g *Grants) Prove(ctx context.Context, old, minted rotate.Secret, privileges []string, referrer string) error {
	lacks := slices.DeleteFunc(g.Ask(ctx, minted, referrer, privileges), func(one Grant) bool { return one.State != GrantRefused })
	if len(lacks) > 0 && !old.IsZero() {
		var names []string
		for _, one := range lacks {
			names = append(names, one.Privilege)
		}
		worse := CompareGrants(g.Ask(ctx, old, referrer, names), lacks)
		lacks = slices.DeleteFunc(lacks, func(one Grant) bool {
			return !slices.ContainsFunc(worse, func(d GrantDifference) bool { return d.Worse && d.Privilege == one.Privilege })
		})
	}
	if len(lacks) == 0 {
		return nil
	}
	var all []error
	for _, one := range lacks {
		all = append(all, fmt.Errorf("%s: %s", one.Privilege, one.Sentence))
	}
	// A key that is new may not have reached every service yet.
	return &rotate.Error{Op: "prove the grants of the new key", Kind: rotate.KindTransient, Err: errors.Join(all...)}
}

// GrantDifference is a privilege that the old and the new key do not have alike.
type GrantDifference struct {
	Privilege string
	Old, New  GrantState
	Worse     bool // the old key could and the new one cannot
	Sentence  string
}

// CompareGrants lists where two proofs differ, the worse first. What is not checkable or
// unclear with either key is no difference.
func CompareGrants(old, minted []Grant) []GrantDifference {
	before := map[string]Grant{}
	for _, g := range old {
		before[g.Privilege] = g
	}
	settled := func(s GrantState) bool { return s == GrantWorks || s == GrantRefused }
	var list []GrantDifference
	for _, after := range minted {
		b, both := before[after.Privilege]
		if !both || b.State == after.State || !settled(b.State) || !settled(after.State) {
			continue
		}
		d := GrantDifference{Privilege: after.Privilege, Old: b.State, New: after.State, Worse: after.State == GrantRefused,
			Sentence: "The new key can what the old one cannot."}
		if d.Worse {
			d.Sentence = "The old key can what the new one cannot: " + after.Sentence
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b GrantDifference) int {
		return cmp.Compare(map[bool]int{true: 0, false: 1}[a.Worse], map[bool]int{true: 0, false: 1}[b.Worse])
	})
	return list
}
