package portaltest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// messageStrict marks the errors of manner strict, which no portal sends.
const messageStrict = "EMULATOR_STRICT"

// violation refuses a careless request in manner strict and keeps it; in manner portal it is nil. Text holds names of
// parameters and paths, never values.
func (e *Emulator) violation(c *call, text string) error {
	if !e.is(SwitchManner, valueStrict) {
		return nil
	}
	if len(e.violations) >= maxViolations {
		e.violations = slices.Delete(e.violations, 0, 1)
	}
	e.violations = append(e.violations, Violation{At: c.now, Op: c.op, Path: c.path, Text: text})
	return &apiError{code: 400, messageCode: messageStrict, message: "strict: " + string(c.op) + ": " + text}
}

// strict holds a request against what a careful client sends.
func (e *Emulator) strict(c *call) error {
	if !e.is(SwitchManner, valueStrict) || c.op == OpAuthorize || c.op == OpService {
		return nil
	}
	for _, problem := range []string{c.strictForm(), c.strictParams(), c.strictToken(), c.strictReferer()} {
		if problem != "" {
			return e.violation(c, problem)
		}
	}
	return nil
}

func (c *call) strictForm() string {
	if f := c.form.Get("f"); f != "json" {
		return "parameter f must be json"
	}
	if c.method == http.MethodPost {
		if len(c.query) > 0 {
			return "a POST carries its parameters in the body, not in the query: " + names(c.query)
		}
		if !strings.HasPrefix(c.header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			return "the body must be application/x-www-form-urlencoded"
		}
	} else if c.method != http.MethodGet {
		return "method must be GET or POST"
	}
	for name, values := range c.form {
		if len(values) > 1 {
			return "parameter " + name + " is sent twice"
		}
	}
	return ""
}

func names(form map[string][]string) string {
	return strings.Join(slices.Sorted(maps.Keys(form)), ", ")
}

func (c *call) strictParams() string {
	known := strings.Fields("f token " + paramsOf(c.op))
	for _, name := range slices.Sorted(maps.Keys(c.form)) {
		if !slices.Contains(known, name) {
			return "unknown parameter " + name
		}
	}
	for name := range strings.FieldsSeq(requiredOf(c.op)) {
		if c.form.Get(name) == "" {
			return "parameter " + name + " is missing"
		}
	}
	for _, name := range []string{"privileges", "httpReferrers", "redirect_uris"} {
		if text := c.form.Get(name); c.form.Has(name) && json.Unmarshal([]byte(text), new([]string)) != nil {
			return "parameter " + name + " must be a JSON array of strings"
		}
	}
	if c.op == OpMint && c.form.Get("regenerateApiToken") != "true" {
		return "parameter regenerateApiToken must be true"
	}
	if (c.op == OpMint || c.op == OpRevoke) && c.slotParam() == 0 {
		return "parameter apiToken must be 1 or 2"
	}
	if text := c.strictAdmin(); text != "" {
		return text
	}
	if c.op == OpSignIn && (c.form.Get("client") != "referer" || c.form.Get("referer") == "") {
		return "sign in with client=referer and a referer"
	}
	return ""
}

// strictAdmin holds the parameters of what creates, edits and retires credentials.
func (c *call) strictAdmin() string {
	for _, name := range []string{"isPersonalAPIToken", "clearEmptyFields", "permanentDelete"} {
		if v := c.form.Get(name); c.form.Has(name) && v != "true" && v != "false" {
			return "parameter " + name + " must be true or false"
		}
	}
	switch c.op {
	case OpRegisterApp, OpAppUpdate:
		if c.form.Get("appType") != "multiple" {
			return "parameter appType must be multiple"
		}
		if c.form.Get("redirect_uris") == "" {
			return "parameter redirect_uris is missing" // what is left out may be reset
		}
	case OpMoveItem:
		if it := c.e.items[c.itemID]; it != nil && c.form.Get("folder") != "/" && c.e.users[it.Owner] != nil {
			if f, ok := c.e.users[it.Owner].folder(c.form.Get("folder")); ok && f.ID != c.form.Get("folder") {
				return "parameter folder must be an id or /"
			}
		}
	case OpUpdateItem:
		for name, values := range c.form {
			if values[0] == "" && name != "typeKeywords" && c.form.Get("clearEmptyFields") != "true" {
				return "parameter " + name + " is empty without clearEmptyFields=true"
			}
		}
	default: // nothing of its own
	}
	return ""
}

func (c *call) strictToken() string {
	if c.query.Has("token") {
		return "the token must not stand in the query, where access logs keep it"
	}
	places := 0
	for _, there := range []bool{c.body.Has("token"), c.header.Get("Authorization") != "", c.header.Get("X-Esri-Authorization") != ""} {
		if there {
			places++
		}
	}
	if places > 1 {
		return "the token is sent in more than one place"
	}
	if c.token == "" {
		return ""
	}
	switch c.op {
	case OpMint, OpRevoke, OpRevokeToken, OpSignIn, OpOAuthToken, OpValidateKey, OpInfo:
		return "this call must not carry a token"
	default:
		return ""
	}
}

func (c *call) strictReferer() string {
	t := c.e.tokens[c.token]
	if t != nil && t.referer != "" && c.header.Get("Referer") == "" {
		return "the token is bound to a referer, and the request has no Referer header"
	}
	if t != nil && t.referer != "" && c.header.Get("Referer") != t.referer {
		return "the token is bound to another referer than the Referer header"
	}
	if k := c.e.keys[c.token]; k != nil {
		if it := c.e.items[k.itemID]; it != nil && it.app != nil && len(it.app.referrers) > 0 && c.header.Get("Referer") == "" {
			return "the key is bound to referrers, and the request has no Referer header"
		}
	}
	return ""
}

// paramsOf lists the parameters a careful client may send, besides f and token.
func paramsOf(op Op) string {
	const item = "id type title description snippet tags typeKeywords url text properties extent culture accessInformation " +
		"licenseInfo documentation classification categories name "
	const app = "client_id appType redirect_uris httpReferrers privileges isPersonalAPIToken"
	switch op {
	case OpSignIn:
		return "username password client referer expiration"
	case OpOAuthToken:
		return "client_id client_secret grant_type expiration refresh_token redirect_uri code code_verifier"
	case OpMint, OpRevoke:
		return "client_id client_secret grant_type apiToken regenerateApiToken"
	case OpRevokeToken:
		return "auth_token token_type_hint client_id"
	case OpAddItem:
		return item + "subscriptionType isPersonalAPIToken apiToken1ExpirationDate apiToken2ExpirationDate"
	case OpUpdateItem, OpSetDate:
		return item + "clearEmptyFields apiToken1ExpirationDate apiToken2ExpirationDate"
	case OpRegisterApp:
		return "itemId " + app
	case OpAppUpdate:
		return app
	case OpDeleteItem:
		return "permanentDelete"
	case OpMoveItem:
		return "folder"
	case OpShare:
		return "everyone org groups confirmItemControl"
	case OpCreateFolder:
		return "title"
	case OpSearch:
		return "q filter start num sortField sortOrder"
	case OpUserContent, OpAPIKeys:
		return "start num"
	case OpAPITokens:
		return "start num startExpirationDate endExpirationDate"
	case OpUsage:
		return "startTime endTime period vars groupby etype stype task appId username userOrgId appOrgId hostOrgId deviceId name"
	case OpValidateKey:
		return "key privilege"
	default:
		return ""
	}
}

// requiredOf lists the parameters without which the operation makes no sense.
func requiredOf(op Op) string {
	switch op {
	case OpSignIn:
		return "username password client referer expiration"
	case OpOAuthToken:
		return "client_id grant_type"
	case OpMint:
		return "client_id client_secret grant_type apiToken regenerateApiToken"
	case OpRevoke:
		return "client_id client_secret apiToken"
	case OpAddItem:
		return "type title"
	case OpRegisterApp:
		return "itemId appType redirect_uris httpReferrers privileges"
	case OpAppUpdate:
		return "httpReferrers privileges"
	case OpDeleteItem:
		return "permanentDelete"
	case OpShare:
		return "everyone org"
	case OpMoveItem:
		return "folder"
	case OpCreateFolder:
		return "title"
	case OpUsage:
		return "startTime endTime period vars"
	default:
		return ""
	}
}
