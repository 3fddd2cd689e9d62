package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// VaultView is what a scrape needs of the sign-in to Vault. Zero times are unknown, or never.
type VaultView struct {
	Token       time.Time // when it ends unless it is renewed
	SecretID    time.Time // when the AppRole's secret id ends that rotatord renews itself
	SecretIDDue time.Time // when that renewal is due, or was
}

// vaultCollector shows the sign-in to Vault.
type vaultCollector struct {
	view func() VaultView

	token, secretID, secretIDDue *prometheus.Desc
}

func newVaultCollector(view func() VaultView) *vaultCollector {
	return &vaultCollector{view: view,
		token: desc("rotatord_vault_token_expiration_timestamp_seconds",
			"When the sign-in to Vault ends unless it is renewed, in seconds since 1970; absent if unknown or without an end."),
		secretID: desc("rotatord_vault_secret_id_expiration_timestamp_seconds",
			"When the AppRole secret id ends that rotatord renews itself, in seconds since 1970; absent if unknown, without an end, or not ours to renew."),
		secretIDDue: desc("rotatord_vault_secret_id_renewal_due_timestamp_seconds",
			"When the renewal of that secret id is due, in seconds since 1970; in the past: it was not renewed. Absent likewise."),
	}
}

// Describe implements prometheus.Collector.
func (c *vaultCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.token, c.secretID, c.secretIDDue} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *vaultCollector) Collect(ch chan<- prometheus.Metric) {
	if c.view == nil {
		return
	}
	v := c.view()
	gaugeTime(ch, c.token, v.Token)
	gaugeTime(ch, c.secretID, v.SecretID)
	gaugeTime(ch, c.secretIDDue, v.SecretIDDue)
}
