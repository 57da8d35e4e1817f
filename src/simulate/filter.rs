//! Which devices and events somebody asked for.

use super::device::Device;
use super::query::Params;
use std::collections::HashSet;

/// The filters of the stream and of the device list. Nothing given means all.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    kinds: HashSet<String>,
    devices: HashSet<String>,
    types: HashSet<String>,
    products: HashSet<String>,
    labels: Vec<(String, Option<String>)>,
}

impl Filter {
    pub(super) fn new(params: &Params) -> Self {
        let set = |key| params.all(key).map(str::to_owned).collect();
        let labels = params.all("label_filters").map(|filter| match filter.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (filter.to_owned(), None),
        });
        Self {
            kinds: set("event_types"),
            devices: set("device_ids"),
            types: set("device_types"),
            products: set("product_numbers"),
            labels: labels.collect(),
        }
    }

    /// Whether events of this type are wanted.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.contains(kind)
    }

    /// Whether this device is wanted; an event without a known device passes only where no device is asked for.
    pub(super) fn takes(&self, device: Option<&Device>) -> bool {
        let Some(device) = device else {
            return self.devices.is_empty() && self.types.is_empty() && self.products.is_empty() && self.labels.is_empty();
        };
        let among = |set: &HashSet<String>, value: &str| set.is_empty() || set.contains(value);
        among(&self.devices, &device.id)
            && among(&self.types, device.family.name())
            && among(&self.products, device.product)
            // The cloud's own client calls several label filters "or".
            && (self.labels.is_empty() || self.labels.iter().any(|(key, value)| labelled(device, key, value.as_deref())))
    }
}

fn labelled(device: &Device, key: &str, value: Option<&str>) -> bool {
    device.labels.get(key).is_some_and(|has| value.is_none_or(|wanted| wanted == has))
}

#[cfg(test)]
mod tests {
    use super::super::device::Family;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn filters_of_one_kind_are_or_and_different_kinds_are_and() {
        let labels = BTreeMap::from([("room".to_owned(), "7".to_owned())]);
        let device = Device::bare("d1".to_owned(), Family::Co2, labels, false);
        let takes = |query: &str| Filter::new(&Params::parse(query)).takes(Some(&device));
        assert!(takes("") && takes("deviceIds=d0&device_ids=d1") && takes("label_filters=room"));
        assert!(takes("label_filters=x&labelFilters=room%3D7") && takes("deviceTypes=co2"));
        assert!(!takes("label_filters=room=8") && !takes("device_ids=d1&device_types=touch") && !takes("productNumbers=1"));
        assert!(!Filter::new(&Params::parse("device_ids=d1")).takes(None));
    }
}
