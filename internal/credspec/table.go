package credspec

// The table of the contract's section 9.1 (Esri's tutorial "Create an API key"), with
// the scopes of Esri's glossary: location services and item access are standard,
// analysis and everything of the portal is personal. Descriptions are our own words.

// row is one line of a category.
type row struct {
	id, label string
	in        Among
	text      string
	cost      string
}

// section makes the privileges of one category and scope.
func section(c Category, s Scope, rows []row) []Privilege {
	out := make([]Privilege, len(rows))
	for i, r := range rows {
		out[i] = Privilege{ID: r.id, Label: r.label, Category: c, Scope: s, Products: r.in, Description: r.text, Cost: r.cost, Undocumented: undocumented(r.id)}
	}
	return out
}

// undocumented ids are known from jf990/api-key-cli and the emulator's seeds alone.
func undocumented(id string) bool {
	switch id {
	case "premium:user:staticMaps", "premium:user:networkanalysis:snaptoroads", "portal:user:allowBetaAccess":
		return true
	}
	return false
}

const (
	perRequest = "by request"
	perStop    = "by route, with its stops"
	perSolve   = "by solved problem"
	inCredits  = "in credits"
	storage    = "by what is stored"
)

func locationPrivileges() []Privilege {
	return section(CategoryLocation, ScopeStandard, []row{
		{"premium:user:basemaps", "Basemaps", hosted, "Basemap styles, basemap tiles and sessions.", "by tile or session"},
		{"premium:user:elevation", "Elevation", lp, "Heights of points.", perRequest},
		{"premium:user:geocode", "Geocoding", online, "Find addresses and places, reverse geocode; results may be stored.", inCredits + "; stored results only"},
		{"premium:user:geocode:stored", "Geocoding (stored)", lp, "Find addresses and places and keep the results.", "by result, dearer than not stored"},
		{"premium:user:geocode:temporary", "Geocoding (not stored)", lp, "Find addresses and places, to be shown and thrown away.", "by result"},
		{"premium:user:geoenrichment", "GeoEnrichment", hosted, "Facts about people and places around a location.", "by attribute"},
		{"premium:user:networkanalysis", "Network analysis", online, "Every routing service: routes, closest facility, service areas, fleets, matrices.", inCredits},
		{"premium:user:networkanalysis:closestfacility", "Closest facility", lp, "The nearest of some places, and the way there.", perSolve},
		{"premium:user:networkanalysis:lastmiledelivery", "Last mile delivery", lp, "Routes of a fleet that delivers many parcels.", perSolve},
		{"premium:user:networkanalysis:locationallocation", "Location-allocation", lp, "Which of some sites serve the demand best.", perSolve},
		{"premium:user:networkanalysis:optimizedrouting", "Optimized routing", lp, "The best order of many stops.", perStop},
		{"premium:user:networkanalysis:origindestinationcostmatrix", "Travel cost matrix", lp, "Times and distances between many places.", "by pair of places"},
		{"premium:user:networkanalysis:routing", "Routing", lp, "The way from stop to stop.", perStop},
		{"premium:user:networkanalysis:servicearea", "Service area", lp, "What is reached within a time or distance.", "by area"},
		{"premium:user:networkanalysis:snaptoroads", "Snap to roads", lp, "Matches recorded positions to streets.", perRequest},
		{"premium:user:networkanalysis:vehiclerouting", "Fleet routing", lp, "Routes of a fleet with time windows and loads.", perSolve},
		{"premium:user:places", "Places", lp, "Search places and read their details.", perRequest + ", more for details"},
		{"premium:user:staticMaps", "Static maps", lp, "Pictures of maps.", perRequest},
		{"premium:user:staticbasemaptiles", "Static basemap tiles", lp, "Basemaps as picture tiles.", "by tile"},
	})
}

func analysisPrivileges() []Privilege {
	return section(CategoryAnalysis, ScopePersonal, []row{
		{"premium:publisher:rasteranalysis", "Imagery analysis", orgs, "Analyse imagery and rasters on the server.", inCredits},
		{"premium:user:spatialanalysis", "Spatial analysis", all, "Analyse hosted features on the server.", inCredits},
	})
}

func contentPrivileges() []Privilege {
	return section(CategoryContent, ScopePersonal, []row{
		{"portal:user:categorizeItems", "Categorize items", all, "Put own items into the organisation's categories.", ""},
		{"portal:user:createItem", "Create, update and delete", all, "Create, change and delete the owner's items.", storage},
		{"portal:user:reassignItems", "Reassign own content", all, "Give own items to another member.", ""},
		{"portal:user:receiveItems", "Receive content", all, "Be given items of another member.", ""},
		{"portal:user:runWebTool", "Run web tools", orgs, "Run geoprocessing services that are shared as web tools.", ""},
		{"portal:user:viewHostedFeatureServices", "View hosted feature layers", lp | enterprise, "Read hosted feature layers shared with the owner.", ""},
		{"portal:user:viewHostedTileServices", "View hosted tile layers", lp | enterprise, "Read hosted tile layers shared with the owner.", ""},
		{"portal:user:viewOrgItems", "View content shared with the organization", all, "Read items shared with the organisation.", ""},
		{"portal:user:viewTracks", "View location tracks", hosted, "Read where tracked members were.", ""},
	})
}

func sharingPrivileges() []Privilege {
	return section(CategorySharing, ScopePersonal, []row{
		{"opendata:user:designateGroup", "Designate groups for open data", hosted, "Open a group's items to the public as open data.", ""},
		{"portal:user:shareGroupToOrg", "Make groups visible to the organization", all, "Show own groups to the organisation.", ""},
		{"portal:user:shareGroupToPublic", "Make groups visible to the public", all, "Show own groups to everybody.", ""},
		{"portal:user:shareToGroup", "Share with groups", all, "Share own items with groups.", ""},
		{"portal:user:shareToOrg", "Share with the organization", all, "Share own items with the organisation.", ""},
		{"portal:user:shareToPublic", "Share with the public", all, "Share own items with everybody.", ""},
	})
}

func groupPrivileges() []Privilege {
	return section(CategoryGroups, ScopePersonal, []row{
		{"portal:user:addExternalMembersToGroup", "Add members of other organizations", orgs, "Add people of other organisations to own groups.", ""},
		{"portal:user:createGroup", "Create groups", orgs, "Create, change and delete own groups.", ""},
		{"portal:user:invitePartneredCollaborationMembers", "Add members of partnered organizations", online, "Add people of partnered organisations to own groups.", ""},
		{"portal:user:joinGroup", "Join groups", all, "Join groups of the organisation.", ""},
		{"portal:user:joinNonOrgGroup", "Join groups of other organizations", hosted, "Join groups outside of the organisation.", ""},
		{"portal:user:viewOrgGroups", "View groups of the organization", all, "See groups shared with the organisation.", ""},
		{"portal:user:viewOrgUsers", "View members", all, "See who is a member of the organisation.", ""},
	})
}

func featurePrivileges() []Privilege {
	return section(CategoryFeatures, ScopePersonal, []row{
		{"features:user:edit", "Edit", all, "Edit features as the layer allows it.", ""},
		{"features:user:fullEdit", "Edit with full control", all, "Edit features whatever the layer allows.", ""},
		{"features:user:manageVersions", "Manage versions", enterprise, "Manage versions of branch versioned data.", ""},
	})
}

func publishingPrivileges() []Privilege {
	return section(CategoryPublishing, ScopePersonal, []row{
		{"portal:publisher:bulkPublishFromDataStores", "Bulk publish from data stores", enterprise, "Publish all layers of a registered data store.", ""},
		{"portal:publisher:createDataPipelines", "Create data pipelines", hosted, "Build, run and schedule data pipelines.", inCredits},
		{"portal:publisher:createFeatureWebhook", "Create feature layer webhooks", enterprise, "Make webhooks of hosted feature layers.", ""},
		{"portal:publisher:publishBigDataAnalytics", "Publish big data analytics", orgs, "Run big data analytics of Velocity.", ""},
		{"portal:publisher:publishDynamicImagery", "Publish dynamic imagery layers", orgs, "Publish imagery that is rendered on the server.", storage},
		{"portal:publisher:publishFeatures", "Publish hosted feature layers", all, "Publish feature layers from own data.", storage},
		{"portal:publisher:publishFeeds", "Publish feeds", orgs, "Publish feeds of Velocity.", ""},
		{"portal:publisher:publishKnowledgeGraph", "Publish knowledge graphs", enterprise, "Publish knowledge graph layers.", ""},
		{"portal:publisher:publishLivestreamVideo", "Publish live video", enterprise, "Publish live video layers.", ""},
		{"portal:publisher:publishRealTimeAnalytics", "Publish real-time analytics", orgs, "Run real-time analytics of Velocity.", ""},
		{"portal:publisher:publishScenes", "Publish hosted scene layers", all, "Publish scene layers from own data.", storage},
		{"portal:publisher:publishServerGPServices", "Publish web tools", all, "Publish geoprocessing services.", ""},
		{"portal:publisher:publishServerServices", "Publish server-based layers", enterprise, "Publish services to federated servers.", ""},
		{"portal:publisher:publishTiledImagery", "Publish tiled imagery layers", all, "Publish imagery as tiles.", storage},
		{"portal:publisher:publishTiles", "Publish hosted tile layers", all, "Publish tile layers from own data.", storage},
		{"portal:publisher:publishVideo", "Publish video", enterprise, "Publish video layers.", ""},
		{"portal:publisher:registerDataStores", "Register data stores", enterprise, "Register folders, databases and cloud stores.", ""},
	})
}

func premiumPrivileges() []Privilege {
	return section(CategoryPremium, ScopePersonal, []row{
		{"premium:publisher:createAdvancedNotebooks", "Create and run advanced notebooks", orgs, "Notebooks with the advanced runtime.", "by run time"},
		{"premium:publisher:createNotebooks", "Create and run notebooks", orgs, "Notebooks with the standard runtime.", ""},
		{"premium:publisher:scheduleNotebooks", "Schedule notebooks", orgs, "Run notebooks on a schedule.", "by run time"},
		{"premium:user:demographics", "Demographics", orgs, "Demographic maps and layers.", inCredits},
		{"premium:user:featurereport", "Feature reports", orgs, "Reports of survey features.", "by report"},
	})
}

func developerPrivileges() []Privilege {
	return section(CategoryDeveloper, ScopePersonal, []row{
		{"portal:user:allowBetaAccess", "Beta services", hosted, "Use services that are in beta.", ""},
		{"portal:user:assignPrivilegesToApps", "Assign privileges to OAuth 2.0 applications", orgs, "Give privileges to credentials: needed to create them.", ""},
		{"portal:user:generateApiTokens", "Generate API keys", orgs, "Make API keys: needed to create and rotate them.", ""},
	})
}

func itemPrivileges() []Privilege {
	return section(CategoryItem, ScopeItem, []row{
		{GrantPrefix + "ITEM", "Item access", all, "Read one private item of the organisation; ITEM is its id, written under items.", ""},
	})
}
