package portaltest

import "time"

// Guesses that are no switch: no source states them, and no client may depend on them.
const (
	// maxKeyLifetimeYears is how far ahead a key's date may lie when it is minted.
	maxKeyLifetimeYears = 1
	// maxItemGrants is the documented limit of item grants in an app's privileges.
	maxItemGrants = 100
	// defaultTokenMinutes is generateToken's lifetime when none is asked for.
	defaultTokenMinutes = 60
	// maxTokenMinutes caps generateToken and client_credentials: two weeks.
	maxTokenMinutes = 20160
	// defaultAppTokenMinutes is the lifetime of a client_credentials token when none is asked for.
	defaultAppTokenMinutes = 120
	// accessTokenLifetime is that of an OAuth user token.
	accessTokenLifetime = 30 * time.Minute
	// defaultRefreshLifetime and maxRefreshLifetime bound an OAuth refresh token.
	defaultRefreshLifetime = 14 * 24 * time.Hour
	maxRefreshLifetime     = 90 * 24 * time.Hour
	// codeLifetime is that of an OAuth authorization code.
	codeLifetime = 10 * time.Minute
	// searchWindow is the documented limit of start+num.
	searchWindow = 10_000
	// maxPage is the documented page size limit of search; listings share it.
	maxPage = 100
	// defaultPage is search's page size when none is asked for.
	defaultPage = 10
	// rateBurst is how many requests the rate limiter lets through at once before it slows down to its rate.
	rateBurst = 20
	// defaultRate is the rate limiter's requests a second.
	defaultRate = 20
	// maxBody caps what is read of a request.
	maxBody = 8 << 20
	// slowChunks is how many pieces a slow body comes in.
	slowChunks = 8
	// maxEvents bounds the event list; the oldest go first.
	maxEvents = 200_000
	// maxViolations bounds the list of violations likewise.
	maxViolations = 10_000
	// pruneTokens is after how many new tokens the expired ones are thrown away.
	pruneTokens = 4096
)

// Texts no source quotes.
const (
	textBadDate         = "Invalid expiration date"
	textBadGrant        = "Unsupported grant_type"
	textBadSlot         = "Invalid apiToken"
	textOccupied        = "API token already exists"
	textNotRegistered   = "Item is not a registered app."
	textBadRedirect     = "Invalid redirect_uri"
	textBadCode         = "Invalid authorization code"
	textTooMany         = "Too many requests."
	textNoKeysHere      = "API tokens are not supported."
	textProtected       = "Unable to delete item. Delete protection is turned on."
	textUsageMissing    = "Usage is not available."
	textTooManyRunning  = "Too many requests at once."
	textBadSearch       = "Invalid search query"
	textAlreadyAnApp    = "Item is already registered."
	textTooManyGrants   = "Too many item privileges."
	textFolderMissing   = "Folder does not exist or is inaccessible."
	textFolderExists    = "Folder title not available."
	textUserMissing     = "User does not exist or is inaccessible."
	textMethod          = "Method not allowed."
	textServiceNoAccess = "Permissions are not sufficient for this service."
)
