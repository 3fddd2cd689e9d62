package config

import (
	"reflect"
	"slices"
	"strconv"
)

// Budget in credits; nil is not set. No key has a cap at Esri: this is rotatord's own.
type Budget struct {
	PerDay   *float64 `yaml:"per_day,omitempty" jsonschema:"minimum=0.01" doc:"Credits for a UTC day. The portal tells of a day late, so per_month is the one to rely on."`
	PerMonth *float64 `yaml:"per_month,omitempty" jsonschema:"minimum=0.01" doc:"Credits for a UTC month."`
	WarnAt   []Share  `yaml:"warn_at,omitempty" doc:"Shares of a budget at which people are told, ascending. 50%, 80%, 100% if left out."`
	CutOff   *bool    `yaml:"cut_off,omitempty" doc:"true: a budget that is spent invalidates the credential's keys until its period ends, which is an outage. Needs per_day or per_month. false if left out."`
}

// inheritBudget takes from defaults, key by key, what the credential leaves out.
func (cr *Credential) inheritBudget(d Defaults) {
	own, from := reflect.ValueOf(&cr.Budget).Elem(), reflect.ValueOf(d.Budget)
	for i := range own.NumField() {
		if own.Field(i).IsNil() {
			own.Field(i).Set(from.Field(i))
		}
	}
	if cr.Usage == "" {
		cr.Usage = d.Usage
	}
}

// budgets: levels must ascend, and only a budget can cut off.
func (k *checker) budgets() {
	k.levels("defaults.budget.warn_at", k.c.Defaults.Budget.WarnAt)
	for i, cr := range k.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "].budget"
		if cr == nil || k.anyBroken(at) || k.anyBroken("defaults.budget") {
			continue
		}
		if k.has(at + ".warn_at") {
			k.levels(at+".warn_at", cr.Budget.WarnAt)
		}
		if value(cr.Budget.CutOff) && cr.Budget.PerDay == nil && cr.Budget.PerMonth == nil {
			place := at + ".cut_off"
			if !k.has(place) && k.has("defaults.budget.cut_off") {
				place = "defaults.budget.cut_off"
			}
			k.bad(place, "add per_month or per_day, or write cut_off: false", "credential %s has cut_off but no budget that could be spent", cr.Name)
		}
		if len(cr.Budget.WarnAt) == 0 {
			cr.Budget.WarnAt = []Share{0.5, 0.8, 1}
		}
	}
}

func (k *checker) levels(path string, levels []Share) {
	if k.anyBroken(path) {
		return
	}
	for i := 1; i < len(levels); i++ {
		if levels[i] <= levels[i-1] {
			k.bad(path+"["+strconv.Itoa(i)+"]", "write each level once, the lowest first", "is not above the level before it")
			return
		}
	}
}

// Levels of the budget as numbers.
func (b Budget) Levels() []float64 {
	out := make([]float64, len(b.WarnAt))
	for i, p := range b.WarnAt {
		out[i] = float64(p)
	}
	return slices.Clip(out)
}
