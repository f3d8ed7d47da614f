"""What DataHub reports: metering points, issued GGOs, early events, back-fill, technologies; its jobs."""
