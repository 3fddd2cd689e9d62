package portaltest

import "strings"

type authRule int

const (
	authNone   authRule = iota // no user token is looked at
	authMaybe                  // a token is checked if there is one
	authNeeded                 // 499 without one
)

// route is one URL of the REST root. Braces in the pattern match one segment.
type route struct {
	segments []string
	op       Op
	post     bool // GET is refused
	auth     authRule
	handler  func(*call) (any, error)
}

// match gives what the braces matched.
func (r *route) match(segments []string) (vars []string, ok bool) {
	if len(segments) != len(r.segments) {
		return nil, false
	}
	for i, want := range r.segments {
		if want == "{}" {
			vars = append(vars, segments[i])
		} else if want != segments[i] {
			return nil, false
		}
	}
	return vars, true
}

// servicePrefix is where location services are, whatever their host, and hosted layers.
const servicePrefix = "/arcgis/rest/services/"

func (e *Emulator) routeTable() []route {
	var table []route
	add := func(op Op, post bool, auth authRule, h func(*call) (any, error), patterns ...string) {
		for _, p := range patterns {
			table = append(table, route{strings.Split(strings.Trim(p, "/"), "/"), op, post, auth, h})
		}
	}
	add(OpInfo, false, authNone, e.info, "info")
	add(OpSignIn, true, authNone, e.generateToken, "generateToken")
	add(OpMint, true, authNone, e.oauthToken, "oauth2/token")
	add(OpAuthorize, false, authNone, e.authorize, "oauth2/authorize", "oauth2/signin")
	add(OpRevoke, true, authNone, e.revokeToken, "oauth2/revokeToken")
	add(OpValidateKey, true, authNone, e.validateKey, "oauth2/validateApiKey")
	add(OpSelf, false, authMaybe, e.portalSelf, "portals/self", "portals/{}")
	add(OpAPITokens, false, authNeeded, e.apiTokens, "portals/self/apiTokens")
	add(OpAPIKeys, false, authNeeded, e.apiKeys, "portals/self/apiKeys")
	add(OpUsage, false, authNeeded, e.usage, "portals/{}/usage")
	add(OpCommunitySelf, false, authNeeded, e.communitySelf, "community/self")
	add(OpUser, false, authMaybe, e.userInfo, "community/users/{}")
	add(OpSearch, false, authMaybe, e.search, "search")
	add(OpItem, false, authMaybe, e.readItem, "content/items/{}")
	add(OpItemData, false, authMaybe, e.readData, "content/items/{}/data")
	add(OpRegisterApp, true, authNeeded, e.registerApp, "oauth2/registerApp")
	add(OpApp, false, authNeeded, e.readApp, "oauth2/apps/{}")
	add(OpAppUpdate, true, authNeeded, e.updateApp, "oauth2/apps/{}/update")
	add(OpUnregisterApp, true, authNeeded, e.unregisterApp, "oauth2/apps/{}/unregister")
	add(OpAddItem, true, authNeeded, e.addItem, "content/users/{}/addItem", "content/users/{}/{}/addItem")
	add(OpCreateFolder, true, authNeeded, e.createFolder, "content/users/{}/createFolder")
	for name, op := range itemOps() {
		add(op, op != OpAppInfo, authNeeded, e.itemHandler(op), "content/users/{}/items/{}/"+name, "content/users/{}/{}/items/{}/"+name)
	}
	add(OpItem, false, authNeeded, e.readOwnItem, "content/users/{}/items/{}", "content/users/{}/{}/items/{}")
	add(OpUserContent, false, authNeeded, e.userContent, "content/users/{}", "content/users/{}/{}")
	for _, s := range locationServices() {
		add(OpService, false, authNone, e.serve(s), servicePrefix+s.path)
	}
	add(OpService, false, authNone, e.featureService, servicePrefix+"Hosted/{}/FeatureServer", servicePrefix+"Hosted/{}/FeatureServer/{}",
		servicePrefix+"Hosted/{}/FeatureServer/{}/query")
	add(OpService, false, authNone, e.service, servicePrefix+"{}")
	return table
}

// itemOps are the operations under content/users/{owner}[/{folder}]/items/{id}.
func itemOps() map[string]Op {
	return map[string]Op{"registeredAppInfo": OpAppInfo, "update": OpUpdateItem, "delete": OpDeleteItem,
		"canDelete": OpCanDelete, "move": OpMoveItem, "protect": OpProtect, "unprotect": OpUnprotect, "share": OpShare}
}

func (e *Emulator) itemHandler(op Op) func(*call) (any, error) {
	switch op {
	case OpAppInfo:
		return e.registeredAppInfo
	case OpUpdateItem:
		return e.updateItem
	case OpDeleteItem:
		return e.deleteItem
	case OpMoveItem:
		return e.moveItem
	case OpProtect, OpUnprotect:
		return e.protectItem
	case OpShare:
		return e.shareItem
	default:
		return e.canDelete
	}
}
