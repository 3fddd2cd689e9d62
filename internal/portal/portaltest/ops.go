package portaltest

// Op names one operation of the portal: the unit of counting and of faults.
type Op string

// The closed set of operations. One URL may carry several: oauth2/token is Mint with apiToken and OAuthToken without,
// portals/self is Prove with an API key and Self otherwise, an item update that names a slot's date is SetDate.
const (
	OpSignIn        Op = "sign_in"
	OpOAuthToken    Op = "oauth_token"
	OpAuthorize     Op = "authorize"
	OpMint          Op = "mint"
	OpRevoke        Op = "revoke"
	OpRevokeToken   Op = "revoke_token"
	OpSelf          Op = "self"
	OpProve         Op = "prove"
	OpCommunitySelf Op = "community_self"
	OpUser          Op = "user"
	OpItem          Op = "item"
	OpItemData      Op = "item_data"
	OpAppInfo       Op = "app_info"
	OpApp           Op = "app"
	OpAppUpdate     Op = "app_update"
	OpRegisterApp   Op = "register_app"
	OpUnregisterApp Op = "unregister_app"
	OpSetDate       Op = "set_date"
	OpUpdateItem    Op = "update_item"
	OpAddItem       Op = "add_item"
	OpDeleteItem    Op = "delete_item"
	OpCanDelete     Op = "can_delete"
	OpMoveItem      Op = "move_item"
	OpProtect       Op = "protect"
	OpUnprotect     Op = "unprotect"
	OpShare         Op = "share"
	OpCreateFolder  Op = "create_folder"
	OpUserContent   Op = "user_content"
	OpSearch        Op = "search"
	OpAPITokens     Op = "api_tokens"
	OpAPIKeys       Op = "api_keys"
	OpUsage         Op = "usage"
	OpValidateKey   Op = "validate_key"
	OpInfo          Op = "info"
	OpService       Op = "service"
	OpUnknown       Op = "unknown"
)

// Ops lists every operation, in the order of docs/emulator.md.
func Ops() []Op {
	return []Op{OpSignIn, OpOAuthToken, OpAuthorize, OpMint, OpRevoke, OpRevokeToken, OpSelf, OpProve, OpCommunitySelf,
		OpUser, OpItem, OpItemData, OpAppInfo, OpApp, OpAppUpdate, OpRegisterApp, OpUnregisterApp, OpSetDate,
		OpUpdateItem, OpAddItem, OpDeleteItem, OpCanDelete, OpMoveItem, OpProtect, OpUnprotect, OpShare, OpCreateFolder,
		OpUserContent, OpSearch, OpAPITokens, OpAPIKeys, OpUsage, OpValidateKey, OpInfo, OpService, OpUnknown}
}

// Effect says whether the operation changes what the portal holds about items, apps or keys. Sign-in and token grants
// create tokens only and count as reads.
func (o Op) Effect() bool {
	switch o {
	case OpMint, OpRevoke, OpAppUpdate, OpRegisterApp, OpUnregisterApp, OpSetDate, OpUpdateItem, OpAddItem,
		OpDeleteItem, OpMoveItem, OpProtect, OpUnprotect, OpShare, OpCreateFolder:
		return true
	default:
		return false
	}
}

// onItem says whether the operation changes one existing item, which is what a Lie can take back.
func (o Op) onItem() bool {
	return o.Effect() && o != OpAddItem && o != OpCreateFolder
}
