package portal

import (
	"context"
	"net/url"
	"slices"

	"rotatord/internal/rotate"
)

// Account is a user and what it may do.
type Account struct {
	Username, OrgID string
	Role            string // org_admin, org_publisher, org_user or custom
	RoleID          string
	LicenseType     string // user type, such as creatorUT
	Privileges      []string
	Told            bool // the portal named the privileges, if only to say that there are none
}

// Admin tells whether the account administers the organisation.
func (a Account) Admin() bool { return a.Role == roleAdmin }

// Lacks lists those of the privileges that the account does not have, in their order. Item
// grants are left aside: who may grant an item is the item's matter. A portal refuses what
// the owner lacks (inferred, contract 2.3); a Location Platform account holds privileges
// that it does not list, so that its answer is a warning there.
func (a Account) Lacks(privileges []string) []string {
	var lacks []string
	for _, p := range privileges {
		if _, grant := GrantedItem(p); !grant && !slices.Contains(a.Privileges, p) {
			lacks = append(lacks, p)
		}
	}
	return lacks
}

// Account reads a user; "" is ourselves, or the owner of the API key that we use. Of others
// the portal may show no privileges: Told is false then, and Lacks means nothing.
func (c *Client) Account(ctx context.Context, username string) (Account, error) {
	what, path := "read user "+username, "/community/users/"+url.PathEscape(username)
	if username == "" {
		what, path = "ask community/self", "/community/self"
	}
	var w struct {
		wireUser
		RoleID  text `json:"roleId"`
		License text `json:"userLicenseTypeId"`
	}
	_, err := c.do(ctx, call{op: opUser, what: what, path: path, refine: func(f *fault, e *rotate.Error) {
		if f.MessageCode == "COM_0018" {
			e.Cause = rotate.CauseNotFound
		}
	}}, &w)
	if err != nil {
		return Account{}, err
	}
	if w.Username == "" {
		return Account{}, incomplete(what, "username")
	}
	return Account{Username: string(w.Username), OrgID: string(w.OrgID), Role: string(w.Role), RoleID: string(w.RoleID),
		LicenseType: string(w.License), Privileges: w.Privileges.v, Told: w.Privileges.set}, nil
}

// GrantTrouble says why an item cannot be granted, or need not be, "" if nothing is wrong.
// d and err are what Details gave, orgID is our organisation's. A missing orgId (Enterprise
// may leave it out) is taken for ours.
func GrantTrouble(id rotate.ItemID, d Details, err error, orgID string) string {
	switch {
	case rotate.CauseOf(err) == rotate.CauseNotFound:
		return "Item " + string(id) + " does not exist, or we may not see it."
	case err != nil:
		return "Item " + string(id) + " cannot be read just now: " + err.Error() + "."
	case d.OrgID != "" && orgID != "" && d.OrgID != orgID:
		return "Item " + string(id) + " belongs to another organisation, whose items cannot be granted."
	case d.Access == "public":
		return "Item " + string(id) + " is public: a grant adds nothing."
	}
	return ""
}
