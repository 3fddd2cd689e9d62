package portaltest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names of the switches; Switches lists them with values, defaults and meanings.
const (
	SwitchManner                = "manner"
	SwitchDateUpdateOnLiveSlot  = "date_update_on_live_slot"
	SwitchDateRounding          = "date_rounding"
	SwitchBadDate               = "bad_date"
	SwitchRegenerateFalse       = "regenerate_false_on_occupied"
	SwitchAppUpdateUnchanged    = "app_update_unchanged"
	SwitchActiveFlagAfterExpiry = "active_flag_after_expiry"
	SwitchItemDateAfterRevoke   = "item_date_after_revoke"
	SwitchSearchLag             = "search_lag"
	SwitchSearchTokenDates      = "search_token_dates"
	SwitchAPITokens             = "api_tokens"
	SwitchAPITokensPaging       = "api_tokens_paging"
	SwitchAPIKeyManagement      = "api_key_management"
	SwitchAppTokenManagement    = "app_token_management"
	SwitchKeyPropagation        = "key_propagation"
	SwitchRevokePropagation     = "revoke_propagation"
	SwitchRateLimit             = "rate_limit"
	SwitchAmbiguousFailure      = "ambiguous_failure"
	SwitchMintWithoutApp        = "mint_without_registration"
	SwitchAppInfoForOthers      = "app_info_for_others"
	SwitchUnknownPrivilege      = "unknown_privilege"
	SwitchOwnerInPath           = "owner_in_path"
	SwitchRevokeEmptySlot       = "revoke_empty_slot"
	SwitchOldEnterpriseMint     = "old_enterprise_mint"
	SwitchExchangeRefresh       = "exchange_refresh_token"
	SwitchKeyForm               = "key_form"
	SwitchKeywordAppears        = "api_token_keyword"
	SwitchDateHeader            = "date_header"
	SwitchServiceStatus         = "service_status"
	SwitchServiceNoPrivilege    = "service_no_privilege"
	SwitchServiceRoots          = "service_roots"
	SwitchServiceArguments      = "service_arguments"
	SwitchRegisterTwice         = "register_twice"
	SwitchOwnKeywords           = "own_keywords"
	SwitchEmptyFields           = "empty_fields"
	SwitchGrantOfNoItem         = "grant_of_no_item"
	SwitchPersonalFlag          = "personal_flag"
	SwitchProtectedUnregister   = "protected_unregister"
	SwitchFolderTaken           = "folder_taken"
	SwitchUserPrivileges        = "user_privileges"
	SwitchProveExpiration       = "prove_expiration"
	SwitchUsagePairs            = "usage_pairs"
	SwitchUsageRange            = "usage_range"
	SwitchUsageBuckets          = "usage_buckets"
	SwitchUsageAppFilter        = "usage_app_filter"
	SwitchUsageRight            = "usage_right"
	SwitchUsageLag              = "usage_lag"
)

// Values a switch shares with another or that the code asks for.
const (
	valueOff    = "off"
	valuePortal = "portal"
	valueStrict = "strict"
)

// Switch is one guess about the portal, with everything it may be.
type Switch struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	Values  []string `json:"values"` // the settings to sweep over
	Default string   `json:"default"`
	Meaning string   `json:"meaning"`
	// Contract says that the guess is a row of the contract's open questions.
	Contract bool `json:"contract"`
	// AnyDuration says that any other Go duration is a value too.
	AnyDuration bool `json:"any_duration,omitempty"`
}

func (s Switch) accepts(value string) error {
	if slices.Contains(s.Values, value) {
		return nil
	}
	if s.AnyDuration {
		if _, err := time.ParseDuration(value); err == nil {
			return nil
		}
		return fmt.Errorf("set switch %s: %q is neither a duration nor one of %s", s.Name, value, strings.Join(s.Values, ", "))
	}
	return fmt.Errorf("set switch %s: %q is not one of %s", s.Name, value, strings.Join(s.Values, ", "))
}

// switchTable is made anew on each call: there is no shared state to guard. The first value is the default.
func switchTable() []Switch {
	table := slices.Concat(contractSwitches(), furtherSwitches(), adminSwitches())
	for i := range table {
		table[i].Default = table[i].Values[0]
		table[i].Value = table[i].Default
	}
	return table
}

// contractSwitches are the rows of the contract's open questions, in its order.
func contractSwitches() []Switch {
	return []Switch{
		{Name: SwitchDateUpdateOnLiveSlot, Contract: true, Values: []string{"keeps_key", "kills_key", "moves_expiry"},
			Meaning: "what an item update of a slot's date alone does to the live key in that slot"},
		{Name: SwitchDateRounding, Contract: true, Values: []string{"end_of_day", "end_of_day_ms", "none"},
			Meaning: "rounding of a slot's date when it is stored: 23:59:59.000 UTC, 23:59:59.999 UTC, or none"},
		{Name: SwitchBadDate, Contract: true, Values: []string{"refuse_mint", "refuse_update"},
			Meaning: "where a date in the past or more than a year ahead is refused with 400"},
		{Name: SwitchRegenerateFalse, Contract: true, Values: []string{"refuse", "regenerate"},
			Meaning: "regenerateApiToken=false on an occupied slot: 400 and the old key stays, or as if it were true"},
		{Name: SwitchAppUpdateUnchanged, Contract: true, Values: []string{"clears_both", "keeps_keys"},
			Meaning: "whether an app update that changes nothing kills both keys"},
		{Name: SwitchActiveFlagAfterExpiry, Contract: true, Values: []string{"stays_true", "turns_false"},
			Meaning: "apiTokenNActive after the key's expiry; the key answers 498 either way"},
		{Name: SwitchItemDateAfterRevoke, Contract: true, Values: []string{"unchanged", "cleared"},
			Meaning: "the slot's date on the item after a revocation; cleared is -1"},
		{Name: SwitchSearchLag, Contract: true, Values: []string{"0s", "30s", "10m"}, AnyDuration: true,
			Meaning: "how long search shows an item's earlier state"},
		{Name: SwitchSearchTokenDates, Contract: true, Values: []string{"unset", "real"},
			Meaning: "apiTokenNExpirationDate in search results: always -1, or the date as indexed"},
		{Name: SwitchAPITokens, Contract: true, Values: []string{"org", "own", "with_inactive", "password_session", valueOff},
			Meaning: "portals/self/apiTokens: admins see the organisation; everybody their own only; dead keys too; " +
				"generateToken sessions only; 403 for all"},
		{Name: SwitchAPIKeyManagement, Contract: true,
			Values:  []string{"privilege_or_item", "privilege_only", "privilege_and_item", "denied"},
			Meaning: "what an API key needs to manage a credential: portal:admin:viewItems and updateItems, a grant of the item, both, or nothing helps"},
		{Name: SwitchAppTokenManagement, Contract: true, Values: []string{"denied", "allowed"},
			Meaning: "whether a client_credentials token manages its owner's credentials"},
		{Name: SwitchKeyPropagation, Contract: true, Values: []string{"0s", "5s", "1m"}, AnyDuration: true,
			Meaning: "how long a new key answers 498 before it works"},
		{Name: SwitchRateLimit, Contract: true, Values: []string{valueOff, "http_429", "http_429_bare", "body_429"},
			Meaning: "above Options.RateLimit requests a second: HTTP 429 with Retry-After, without it, or HTTP 200 with code 429"},
		{Name: SwitchAmbiguousFailure, Contract: true, Values: []string{valueOff, "every_third", "always"},
			Meaning: "effects whose connection is dropped after the effect"},
		{Name: SwitchMintWithoutApp, Contract: true, Values: []string{"invalid_client_id", "no_such_item"},
			Meaning: "minting with an unknown client id: 400 Invalid client_id, or 400 CONT_0001"},
		{Name: SwitchAppInfoForOthers, Contract: true, Values: []string{"forbidden", "no_such_item"},
			Meaning: "registeredAppInfo for neither owner nor admin: 403 GWM_0003, or 400 CONT_0001"},
		{Name: SwitchUnknownPrivilege, Contract: true, Values: []string{"refuse", "drop", "accept"},
			Meaning: "an unknown or forbidden privilege in an app: 500 with the names in details, silently dropped, or kept"},
	}
}

// furtherSwitches are guesses beyond the contract's list that change what a client sees.
func furtherSwitches() []Switch {
	return []Switch{
		{Name: SwitchManner, Values: []string{valuePortal, valueStrict},
			Meaning: "portal: as lenient as the real one; strict: a careless request is refused with a sentence and kept as a violation"},
		{Name: SwitchAPITokensPaging, Values: []string{"bare", "next_start", "start_ignored"},
			Meaning: "portals/self/apiTokens: items only; total, start, num and nextStart too; or start without effect"},
		{Name: SwitchRevokePropagation, Values: []string{"0s", "5s", "1m"}, AnyDuration: true,
			Meaning: "how long a revoked or overwritten key still works"},
		{Name: SwitchOwnerInPath, Values: []string{"lenient", "enforced"},
			Meaning: "an item path under another user's name works for who may manage the item, or is 400 CONT_0001"},
		{Name: SwitchRevokeEmptySlot, Values: []string{"success", "refuse"},
			Meaning: "revoking a slot without a key: success, or 400"},
		{Name: SwitchOldEnterpriseMint, Values: []string{"refuse", "app_token"},
			Meaning: "oauth2/token with apiToken on Enterprise 11.3: 400, or an ordinary app token as if apiToken were surplus"},
		{Name: SwitchExchangeRefresh, Values: []string{"keeps_old", "ends_old"},
			Meaning: "the old refresh token after exchange_refresh_token"},
		{Name: SwitchKeyForm, Values: []string{"dot", "plain"},
			Meaning: "whether a dot stands before the key's 12-character tail"},
		{Name: SwitchKeywordAppears, Values: []string{"date_or_mint", "registration"},
			Meaning: "when the portal adds the keyword APIToken: with the first slot date or key, or at registration of any multiple app"},
		{Name: SwitchDateHeader, Values: []string{"on", valueOff, "10m", "-10m"}, AnyDuration: true,
			Meaning: "the Date header: the emulator's clock, absent, or wrong by a duration"},
		{Name: SwitchServiceStatus, Values: []string{"as_known", "http", "body"},
			Meaning: "location services report errors each as clients have seen it, all by HTTP status, or all with HTTP 200 and an error body"},
		{Name: SwitchProveExpiration, Values: []string{"key", "item"},
			Meaning: "appInfo.expirationDate: the key's own expiry, or the date that the item shows now"},
		{Name: SwitchUsagePairs, Values: []string{"strings", "numbers", "sparse", "null"},
			Meaning: "members of a usage series: [time, number] as strings, as numbers, only those that are not 0, or null for 0"},
		{Name: SwitchUsageRange, Values: []string{"any", "31d", "7d"},
			Meaning: "the longest time between startTime and endTime of usage; more is 400"},
		{Name: SwitchUsageBuckets, Values: []string{"utc", "org_zone"},
			Meaning: "whether a usage day begins at midnight UTC or at the organisation's, seven hours later"},
		{Name: SwitchUsageAppFilter, Values: []string{"honoured", "ignored"},
			Meaning: "whether usage with appId is that app's alone, or everybody's"},
		{Name: SwitchUsageRight, Values: []string{"reports", "admin", "anybody"},
			Meaning: "who may read usage: admins and holders of portal:admin:createReports, admins alone, or everybody signed in"},
		{Name: SwitchUsageLag, Values: []string{"0s", "3h", "36h"}, AnyDuration: true,
			Meaning: "how long after it happened traffic shows in usage"},
	}
}

// adminSwitches are guesses about what creates, edits and proves credentials.
func adminSwitches() []Switch {
	return []Switch{
		{Name: SwitchServiceNoPrivilege, Values: []string{"403", "498", "499"},
			Meaning: "what an older location service or a layer answers to a live key without the privilege or grant"},
		{Name: SwitchServiceRoots, Values: []string{"open", "closed"},
			Meaning: "whether the elevation service's and the routing catalogue's own pages answer to anybody, or want key and privilege"},
		{Name: SwitchServiceArguments, Values: []string{"token_first", "arguments_first"},
			Meaning: "whether a location service looks at the token or at missing arguments first"},
		{Name: SwitchRegisterTwice, Values: []string{"refuse", "updates", "replaces"},
			Meaning: "registerApp of an item that has an app: 400; an app update, which kills the keys; or another client id and secret"},
		{Name: SwitchOwnKeywords, Values: []string{"kept", "dropped"},
			Meaning: "type keywords of our own when the app is registered"},
		{Name: SwitchEmptyFields, Values: []string{"need_flag", "clear"},
			Meaning: "an empty value in an item update changes something only beside clearEmptyFields=true, or always"},
		{Name: SwitchGrantOfNoItem, Values: []string{"accept", "refuse", "drop"},
			Meaning: "a grant of an item that does not exist, or that the owner cannot see: kept, refused as an unknown privilege is, or dropped"},
		{Name: SwitchPersonalFlag, Values: []string{"as_sent", "computed"},
			Meaning: "isPersonalAPIToken of an app: what was sent, or whether a privilege acts as the owner"},
		{Name: SwitchProtectedUnregister, Values: []string{"allowed", "refused"},
			Meaning: "unregistering the app of a protected item"},
		{Name: SwitchFolderTaken, Values: []string{"refuse", "second"},
			Meaning: "createFolder with a title that the user has: 400, or a second folder of that title"},
		{Name: SwitchUserPrivileges, Values: []string{"shown", "own_only"},
			Meaning: "whether community/users shows everybody's privileges, or one's own alone"},
	}
}

// Switches lists every switch with its present value.
func (e *Emulator) Switches() []Switch {
	e.mu.Lock()
	defer e.mu.Unlock()
	table := switchTable()
	for i := range table {
		table[i].Value = e.switches[table[i].Name]
	}
	return table
}

// SetSwitch sets one switch; unknown names and values are errors.
func (e *Emulator) SetSwitch(name, value string) error {
	for _, s := range switchTable() {
		if s.Name != name {
			continue
		}
		if err := s.accepts(value); err != nil {
			return err
		}
		e.mu.Lock()
		e.switches[name] = value
		e.version++
		e.mu.Unlock()
		return nil
	}
	return fmt.Errorf("set switch %s: no such switch", name)
}

// is reports a switch's value; the caller holds e.mu.
func (e *Emulator) is(name, value string) bool { return e.switches[name] == value }

// duration is a switch's value as a duration, 0 for a word; the caller holds e.mu.
func (e *Emulator) duration(name string) time.Duration {
	d, err := time.ParseDuration(e.switches[name])
	if err != nil {
		return 0 // a word such as "on": the table admits nothing else
	}
	return d
}
