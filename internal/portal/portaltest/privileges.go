package portaltest

import (
	"regexp"
	"slices"
	"strings"
)

const roleAdmin = "org_admin"

// The standard users of Online and Enterprise; a Location Platform organisation has AdminUser alone. All share
// StandardPassword.
const (
	AdminUser        = "ops_admin"   // org_admin
	CreatorUser      = "map_creator" // may create items, generate keys and assign privileges
	ViewerUser       = "map_viewer"  // none of that
	SSOUser          = "sso_creator" // as CreatorUser, but without a built-in login
	StandardPassword = "correct horse battery staple"
)

// The three privileges without which nobody manages API key credentials.
const (
	privilegeGenerate = "portal:user:generateApiTokens"
	privilegeAssign   = "portal:user:assignPrivilegesToApps"
	privilegeCreate   = "portal:user:createItem"
	privilegeViewAll  = "portal:admin:viewItems"
	privilegeEditAll  = "portal:admin:updateItems"
)

func standardUsers(p Product) []User {
	creator := []string{privilegeCreate, privilegeGenerate, privilegeAssign, "portal:user:viewOrgUsers", "portal:user:viewOrgItems",
		"portal:publisher:publishFeatures", "features:user:edit"}
	if p == LocationPlatform || p == Online {
		creator = append(creator, grantable(p, "premium:")...)
	}
	admin := append(grantable(p, ""), privilegeGenerate, privilegeAssign)
	slices.Sort(admin)
	list := []User{{Username: AdminUser, Password: StandardPassword, FullName: "Ops Admin", Email: "ops@example.com",
		Role: roleAdmin, UserType: "creatorUT", Privileges: slices.Compact(admin)}}
	if p == LocationPlatform {
		return list // a single-user organisation
	}
	return append(list,
		User{Username: CreatorUser, Password: StandardPassword, FullName: "Map Creator", Email: "creator@example.com",
			Role: "org_publisher", UserType: "creatorUT", Privileges: creator},
		User{Username: ViewerUser, Password: StandardPassword, FullName: "Map Viewer", Email: "viewer@example.com",
			Role: "org_user", UserType: "viewerUT", Privileges: []string{"portal:user:viewOrgItems"}},
		User{Username: SSOUser, Password: StandardPassword, FullName: "Single Sign-on", Email: "sso@example.com",
			Role: "org_publisher", UserType: "creatorUT", Privileges: slices.Clone(creator), SSO: true})
}

func (p Product) version() string {
	switch p {
	case Enterprise114:
		return "2024.2"
	case Enterprise113:
		return "2024.1"
	default:
		return "2026.1"
	}
}

func (p Product) urlKey() string {
	if p == LocationPlatform {
		return "emulated-lp"
	}
	return "emulated"
}

func (p Product) subscription() string {
	switch {
	case p == LocationPlatform:
		return "Location Platform"
	case p.enterprise():
		return "In House"
	}
	return "Creator"
}

// Privilege names are kept as the contract's table groups them: a prefix and its members.
func privilegeGroups() map[string]map[string]string {
	const (
		analysisOnline = "rasteranalysis createNotebooks scheduleNotebooks createAdvancedNotebooks"
		userAll        = "createItem viewOrgUsers joinGroup viewOrgGroups viewOrgItems viewTracks reassignItems receiveItems " +
			"categorizeItems shareToGroup shareToOrg shareToPublic shareGroupToOrg shareGroupToPublic "
		publishAll   = "publishFeatures publishTiles publishScenes publishTiledImagery "
		adminContent = "viewItems updateItems deleteItems reassignItems categorizeItems updateItemCategorySchema shareToOrg " +
			"createReports viewGroups updateGroups deleteGroups reassignGroups assignToGroups createUpdateCapableGroup " +
			"createLeavingDisallowedGroup manageSecurity manageWebsite manageCollaborations manageCredits manageUtilityServices "
		adminMembers = "shareToPublic manageEnterpriseGroups viewUsers updateUsers deleteUsers inviteUsers disableUsers " +
			"changeUserRoles manageLicenses updateMemberCategorySchema manageRoles "
		publishOnline = "publishDynamicImagery publishRealTimeAnalytics publishBigDataAnalytics publishFeeds "
	)
	lp := map[string]string{
		"premium:user:": "basemaps staticbasemaptiles geoenrichment elevation geocode:stored geocode:temporary places " +
			"networkanalysis:routing networkanalysis:closestfacility networkanalysis:locationallocation " +
			"networkanalysis:optimizedrouting networkanalysis:origindestinationcostmatrix networkanalysis:servicearea " +
			"networkanalysis:vehiclerouting networkanalysis:lastmiledelivery networkanalysis:snaptoroads spatialanalysis staticMaps",
		"portal:user:":      userAll + "joinNonOrgGroup viewHostedFeatureServices viewHostedTileServices allowBetaAccess",
		"portal:publisher:": publishAll + "createDataPipelines publishServerGPServices",
		"features:user:":    "edit fullEdit", "opendata:user:": "designateGroup", "portal:admin:": adminContent}
	online := map[string]string{
		"premium:user:":      "basemaps geoenrichment geocode networkanalysis spatialanalysis demographics featurereport",
		"premium:publisher:": analysisOnline,
		"portal:user:": userAll + "createGroup joinNonOrgGroup invitePartneredCollaborationMembers addExternalMembersToGroup " +
			"generateApiTokens assignPrivilegesToApps runWebTool allowBetaAccess",
		"portal:publisher:": publishAll + publishOnline + "createDataPipelines publishServerGPServices",
		"features:user:":    "edit fullEdit", "opendata:user:": "designateGroup", "portal:admin:": adminContent + adminMembers,
		"marketplace:admin:": "manage purchase startTrial"}
	enterprise := map[string]string{
		"premium:user:":      "spatialanalysis demographics featurereport",
		"premium:publisher:": analysisOnline,
		"portal:user:": userAll + "createGroup addExternalMembersToGroup generateApiTokens assignPrivilegesToApps " +
			"viewHostedFeatureServices viewHostedTileServices runWebTool",
		"portal:publisher:": publishAll + publishOnline + "publishLivestreamVideo publishServerServices publishVideo " +
			"registerDataStores createFeatureWebhook bulkPublishFromDataStores publishKnowledgeGraph publishServerGPServices",
		"features:user:": "edit fullEdit manageVersions",
		"portal:admin:":  strings.ReplaceAll(adminContent, "manageCredits ", "") + adminMembers + "createGPWebhook manageServers manageWebhooks"}
	return map[string]map[string]string{"lp": lp, "online": online, "enterprise": enterprise}
}

// grantable lists the product's privileges for apps that start with prefix, sorted.
func grantable(p Product, prefix string) []string {
	name := "online"
	if p == LocationPlatform {
		name = "lp"
	} else if p.enterprise() {
		name = "enterprise"
	}
	var list []string
	for group, members := range privilegeGroups()[name] {
		for member := range strings.FieldsSeq(members) {
			if full := group + member; strings.HasPrefix(full, prefix) {
				list = append(list, full)
			}
		}
	}
	slices.Sort(list)
	return list
}

// Privileges lists what a key of the product may carry, item grants left aside.
func Privileges(p Product) []string { return grantable(p, "") }

// grants says whether the owner can see the item that the privilege names.
func (e *Emulator) grants(owner *account, privilege string) bool {
	it := e.items[strings.TrimPrefix(privilege, itemGrantPrefix)]
	return it != nil && it.org == "" && e.sees(identity{user: owner, kind: tokenUser}, it)
}

// checkPrivileges splits the wanted privileges into those that an app of this owner may carry and the others.
func (e *Emulator) checkPrivileges(owner *account, wanted []string) (kept, refused []string) {
	allowed := e.privileges
	grant := regexp.MustCompile(`^` + itemGrantPrefix + `[0-9a-f]{32}$`)
	for _, p := range wanted {
		_, known := slices.BinarySearch(allowed, p)
		switch {
		case known && owner.has(p), grant.MatchString(p) && (e.is(SwitchGrantOfNoItem, "accept") || e.grants(owner, p)):
			kept = append(kept, p)
		case !grant.MatchString(p) || e.is(SwitchGrantOfNoItem, "refuse"):
			refused = append(refused, p)
		default: // a grant of nothing is dropped
		}
	}
	return kept, refused
}
