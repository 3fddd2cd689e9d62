package portaltest

import (
	"net/http"
	"slices"
	"strings"
)

// locationService is one address that location services have: what a key is probed against.
type locationService struct {
	path      string // below servicePrefix
	privilege string
	kinds     func(*call) []string // further privileges of which one does as well
	newer     bool                 // reports errors by HTTP status; older ones in the body of HTTP 200
	root      bool                 // describes the service, and may answer to anybody
	needs     string               // arguments without which it has nothing to do
	billed    bool                 // a call that is done costs
	answer    func() any
}

// locationServices are the addresses of the contract's probe table. The host is not looked at.
func locationServices() []locationService {
	describe := func(o obj) func() any { return func() any { return o } }
	return []locationService{
		{path: "styles/v2/styles/arcgis/{}", privilege: "premium:user:basemaps", newer: true,
			answer: describe(obj{"version": 8, "name": "ArcGIS Navigation", "sources": obj{}, "layers": []any{}})},
		{path: "static-basemap-tiles-service/v1/arcgis/{}/static/tile/{}/{}/{}", privilege: "premium:user:staticbasemaptiles", newer: true, billed: true,
			answer: func() any { return page{status: http.StatusOK, contentType: "image/png", body: "\x89PNG\r\n\x1a\n"} }},
		{path: "World/GeocodeServer/findAddressCandidates", privilege: "premium:user:geocode", needs: "SingleLine", billed: true, kinds: geocodeKinds,
			answer: describe(obj{"spatialReference": obj{"wkid": 4326}, "candidates": []any{}})},
		{path: "places-service/v1/places/near-point", privilege: "premium:user:places", newer: true, needs: "x y", billed: true,
			answer: describe(obj{"results": []any{}})},
		{path: "elevation-service/v1", privilege: "premium:user:elevation", newer: true, root: true,
			answer: describe(obj{"name": "elevation-service", "version": "1.0.0"})},
		{path: "World/geoenrichmentserver/Geoenrichment/Enrich", privilege: "premium:user:geoenrichment", needs: "studyAreas", billed: true,
			answer: describe(obj{"results": []any{}, "messages": []any{}})},
		{path: "World", privilege: "premium:user:networkanalysis", root: true,
			kinds:  func(*call) []string { return []string{"premium:user:networkanalysis:routing"} },
			answer: describe(obj{"currentVersion": 11.4, "folders": []any{}, "services": []obj{{"name": "World/Route", "type": "NAServer"}}})},
	}
}

// serve is the handler of a location service.
func (e *Emulator) serve(s locationService) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if err := e.strictService(c); err != nil {
			return nil, err
		}
		complaint := func() error {
			for name := range strings.FieldsSeq(s.needs) {
				if c.form.Get(name) == "" {
					return e.serviceError(s.newer, http.StatusBadRequest, 400, "Unable to complete operation. '"+name+"' parameter is missing.")
				}
			}
			return nil
		}
		if e.is(SwitchServiceArguments, "arguments_first") {
			if err := complaint(); err != nil {
				return nil, err
			}
		}
		if err := e.serviceKey(c, s); err != nil {
			return nil, err
		}
		if err := complaint(); err != nil {
			return nil, err
		}
		if s.billed {
			e.billed++
		}
		return s.answer(), nil
	}
}

// strictService: a probe must not leave the key in an access log.
func (e *Emulator) strictService(c *call) error {
	switch {
	case !e.is(SwitchManner, valueStrict):
	case c.query.Has("token"):
		return e.violation(c, "the token must not stand in the query, where access logs keep it")
	case c.header.Get("Authorization") != "" && c.header.Get("X-Esri-Authorization") != "":
		return e.violation(c, "the token is sent in more than one place")
	}
	return nil
}

// serviceKey checks the token and its privilege.
func (e *Emulator) serviceKey(c *call, s locationService) error {
	if err := c.identify(); err != nil {
		return e.serviceError(s.newer, http.StatusUnauthorized, 498, "Invalid token.")
	}
	if s.root && e.is(SwitchServiceRoots, "open") {
		return nil
	}
	if c.id.anonymous() {
		return e.serviceError(s.newer, http.StatusUnauthorized, 499, "Token Required")
	}
	enough := []string{s.privilege}
	if s.kinds != nil {
		enough = append(enough, s.kinds(c)...)
	}
	if !slices.ContainsFunc(enough, c.id.has) {
		return e.noPrivilege(s.newer)
	}
	return nil
}

// geocodeKinds: results that are kept want another privilege than those that are not; a search that does not say is not kept.
func geocodeKinds(c *call) []string {
	if c.boolParam("forStorage") {
		return []string{"premium:user:geocode:stored"}
	}
	return []string{"premium:user:geocode:temporary"}
}

// serviceError is answered as switch service_status has it.
func (e *Emulator) serviceError(newer bool, status, code int, message string) *apiError {
	err := &apiError{code: code, message: message}
	if e.is(SwitchServiceStatus, "http") || newer && e.is(SwitchServiceStatus, "as_known") {
		err.status = status
	}
	return err
}

// noPrivilege refuses a live key that lacks the privilege.
func (e *Emulator) noPrivilege(newer bool) *apiError {
	switch {
	case newer, e.is(SwitchServiceNoPrivilege, "403"):
		return e.serviceError(newer, http.StatusForbidden, 403, textServiceNoAccess)
	case e.is(SwitchServiceNoPrivilege, "499"):
		return e.serviceError(newer, http.StatusUnauthorized, 499, "Token Required")
	default:
		return e.serviceError(newer, http.StatusUnauthorized, 498, "Invalid token.")
	}
}

// service stands in for any other service: the last path segment names the privilege that a token needs there.
func (e *Emulator) service(c *call) (any, error) {
	const newer = true
	if err := c.identify(); err != nil {
		return nil, e.serviceError(newer, http.StatusUnauthorized, 498, "Invalid token.")
	}
	if c.id.anonymous() {
		return nil, e.serviceError(newer, http.StatusUnauthorized, 499, "Token Required")
	}
	if !c.id.has(c.vars[0]) {
		return nil, e.noPrivilege(newer)
	}
	return obj{"serviceDescription": c.vars[0], "currentVersion": 11.4}, nil
}

// featureService is the hosted layer that an item stands for: who sees the item may read it.
func (e *Emulator) featureService(c *call) (any, error) {
	if err := e.strictService(c); err != nil {
		return nil, err
	}
	if err := c.identify(); err != nil {
		return nil, e.serviceError(false, http.StatusUnauthorized, 498, "Invalid token.")
	}
	it := e.items[c.vars[0]]
	switch {
	case it == nil || it.Type != "Feature Service":
		return nil, e.serviceError(false, http.StatusNotFound, 400, "Invalid URL")
	case e.sees(c.id, it):
	case c.id.anonymous():
		return nil, e.serviceError(false, http.StatusUnauthorized, 499, "Token Required")
	default:
		return nil, e.noPrivilege(false)
	}
	layer := obj{"id": 0, "name": it.Title, "type": "Feature Layer", "geometryType": "esriGeometryPoint"}
	switch {
	case strings.HasSuffix(c.path, "/query"):
		return obj{"objectIdFieldName": "OBJECTID", "features": []any{}}, nil
	case len(c.vars) > 1:
		return layer, nil
	}
	return obj{"currentVersion": 11.4, "serviceItemId": it.ID, "capabilities": "Query", "layers": []any{layer}, "tables": []any{}}, nil
}

// Billed is how many calls of location services a real one would have charged for.
func (e *Emulator) Billed() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.billed
}
