//! Writing families of samples: each is described once, with all its samples behind it.

use std::fmt::Result;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
    },
    metrics::{MetricType, counter::Counter, histogram::Histogram},
};

use crate::telemetry::counts::{By, Label};

/// The labels of a sample.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// What is being written.
#[derive(Debug)]
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) const fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// One number that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> Result {
        self.describe(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// The same for each of these labels.
    pub(super) fn gauges<'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> Result {
        let mut family = self.describe(name, help, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// One number that only grows; the name gets `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> Result {
        let mut metric = self.describe(name, help, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// As [`Page::counter`], of one of ours.
    pub(super) fn count(&mut self, name: &str, help: &str, counter: &Counter) -> Result {
        self.counter(name, help, counter.get())
    }

    /// As [`Page::counter`] for each of these labels.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> Result {
        let mut family = self.describe(name, help, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    /// As [`Page::counters`] for each value of a closed set.
    pub(super) fn counts<L: Label>(&mut self, name: &str, help: &str, counts: &By<L>) -> Result {
        self.counters(name, help, counts.iter().map(|(label, count)| (vec![of(label)], count)))
    }

    /// A distribution for each of some labels, to be written sample by sample.
    pub(super) fn histogram_family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> std::result::Result<MetricEncoder<'s>, std::fmt::Error> {
        self.describe(name, help, MetricType::Histogram)
    }

    /// A distribution.
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> Result {
        histogram.encode(self.describe(name, help, MetricType::Histogram)?)
    }

    /// The same for each of these labels.
    pub(super) fn histograms<'l, 'h>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, &'h Histogram)>,
    ) -> Result {
        let mut family = self.describe(name, help, MetricType::Histogram)?;
        samples
            .into_iter()
            .try_for_each(|(labels, histogram)| histogram.encode(family.encode_family(&labels)?))
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> std::result::Result<MetricEncoder<'s>, std::fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

/// A label by its own name.
pub(super) fn of<L: Label>(label: L) -> (&'static str, &'static str) {
    (L::KEY, label.word())
}
