package portaltest

import (
	"cmp"
	"encoding/json"
)

// itemView is an item as the portal shows it. It is a struct and not a map because listings show it ten thousand times.
type itemView struct {
	ID                string   `json:"id"`
	Owner             string   `json:"owner"`
	OrgID             string   `json:"orgId"`
	Created           int64    `json:"created"`
	Modified          int64    `json:"modified"`
	IsOrgItem         bool     `json:"isOrgItem"`
	GUID              any      `json:"guid"`
	Name              any      `json:"name"`
	Title             string   `json:"title"`
	Type              string   `json:"type"`
	TypeKeywords      []string `json:"typeKeywords"`
	Description       any      `json:"description"`
	Tags              []string `json:"tags"`
	Snippet           any      `json:"snippet"`
	Thumbnail         any      `json:"thumbnail"`
	Documentation     any      `json:"documentation"`
	Extent            any      `json:"extent"`
	Categories        any      `json:"categories"`
	SpatialReference  any      `json:"spatialReference"`
	AccessInformation any      `json:"accessInformation"`
	Classification    any      `json:"classification"`
	LicenseInfo       any      `json:"licenseInfo"`
	Culture           any      `json:"culture"`
	Properties        any      `json:"properties"`
	AdvancedSettings  any      `json:"advancedSettings"`
	URL               any      `json:"url"`
	ProxyFilter       any      `json:"proxyFilter"`
	Access            string   `json:"access"`
	Size              int      `json:"size"`
	SubInfo           int      `json:"subInfo"`
	AppCategories     []string `json:"appCategories"`
	Industries        []string `json:"industries"`
	Languages         []string `json:"languages"`
	LargeThumbnail    any      `json:"largeThumbnail"`
	Banner            any      `json:"banner"`
	Screenshots       []string `json:"screenshots"`
	Listed            bool     `json:"listed"`
	OwnerFolder       any      `json:"ownerFolder"`
	Protected         bool     `json:"protected"`
	CommentsEnabled   bool     `json:"commentsEnabled"`
	NumComments       int      `json:"numComments"`
	NumRatings        int      `json:"numRatings"`
	AvgRating         int      `json:"avgRating"`
	NumViews          int      `json:"numViews"`
	ItemControl       string   `json:"itemControl,omitzero"`
	ScoreCompleteness int      `json:"scoreCompleteness"`
	GroupDesignations any      `json:"groupDesignations"`
	SubscriptionType  any      `json:"subscriptionType,omitzero"`
	// Either the slots' dates or, on a portal without them, what older items have.
	Date1      *int64 `json:"apiToken1ExpirationDate,omitzero"`
	Date2      *int64 `json:"apiToken2ExpirationDate,omitzero"`
	OldDate    *int64 `json:"tokenExpirationDate,omitzero"`
	LastViewed int    `json:"lastViewed"`
}

// view shows the item to the identity.
func (e *Emulator) view(it *item, id identity) itemView {
	none := []string{}
	v := itemView{ID: it.ID, Owner: it.Owner, OrgID: cmp.Or(it.org, e.orgID), Created: millis(it.Created), Modified: millis(it.Modified),
		IsOrgItem: true, Title: it.Title, Type: it.Type, TypeKeywords: nonNil(it.Keywords), Tags: nonNil(it.Tags),
		Name: it.field("name", nil), Description: it.field("description", nil), Snippet: it.field("snippet", nil),
		Documentation: it.field("documentation", nil), Extent: it.field("extent", none), Categories: it.field("categories", none),
		AccessInformation: it.field("accessInformation", nil), Classification: it.field("classification", nil),
		LicenseInfo: it.field("licenseInfo", nil), Culture: it.field("culture", ""), Properties: it.field("properties", nil),
		URL: it.field("url", nil), SubscriptionType: it.field("subscriptionType", nil), Access: it.Access, Size: len(it.data),
		AppCategories: none, Industries: none, Languages: none, Screenshots: none, Protected: it.Protected,
		CommentsEnabled: true, LastViewed: -1}
	if it.Folder != "" {
		v.OwnerFolder = it.Folder
	}
	if e.manages(id, it) {
		v.ItemControl = "admin"
	}
	if e.opts.Product.keepsKeys() {
		v.Date1, v.Date2 = new(it.dates[0]), new(it.dates[1])
	} else {
		v.OldDate = new(int64(-1))
	}
	return v
}

// found is the item as a search result: without what depends on the asker, and its dates as unreliable as the switch has it.
func (v itemView) found(dates bool) itemView {
	v.ItemControl, v.OwnerFolder = "", nil
	if !dates && v.Date1 != nil {
		v.Date1, v.Date2 = new(int64(-1)), new(int64(-1))
	}
	return v
}

// field gives back what was sent as JSON as JSON, and other text as it is.
func (it *item) field(name string, def any) any {
	value, sent := it.fields[name]
	if !sent {
		return def
	}
	switch name {
	case "properties", "extent", "categories":
		var parsed any
		if json.Unmarshal([]byte(value), &parsed) == nil {
			return parsed
		}
	}
	return value
}
